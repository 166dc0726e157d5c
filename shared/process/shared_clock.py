"""The time that all machines of the service share, so that one whose own clock is wrong harms no job."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from shared.errors import Unavailable

MAX_AGE_SECONDS = 60.0
"""The time is read again after this time; the monotonic clocks of two machines stay together for longer."""


class SharedClock:
    """The time of a server that all machines ask.

    Between two answers, and while the server does not answer, the monotonic clock of this machine counts on.
    """

    def __init__(self, read: Callable[[], datetime]) -> None:
        """Creates a clock.

        Args:
            read: Asks the server for its time. It may raise `Unavailable`.
        """
        self._read = read
        self._known: tuple[datetime, float] | None = None
        self._asked_at = float("-inf")

    def now(self) -> datetime:
        """The current time, truncated to milliseconds. Raises `Unavailable` if the server has never answered."""
        if self._known is None or time.monotonic() - self._asked_at > MAX_AGE_SECONDS:
            self._known = self._ask(self._known)
        moment, read_at = self._known
        passed = moment + timedelta(seconds=time.monotonic() - read_at)
        return passed.replace(microsecond=passed.microsecond // 1000 * 1000)

    def _ask(self, known: tuple[datetime, float] | None) -> tuple[datetime, float]:
        self._asked_at = time.monotonic()
        try:
            return self._read(), time.monotonic()
        except Unavailable:
            if known is None:
                raise
            return known
