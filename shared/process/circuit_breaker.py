"""Remembers for some seconds that a dependency fails, so that callers do not wait for it again and again."""

import math
import time
from collections.abc import Callable
from threading import Lock

FAILURES = 3
OPEN_SECONDS = 5.0
SILENT_SECONDS = 1.5
"""One call that waited in vain for so long is enough if no other call succeeded meanwhile: the dependency hangs."""


class CircuitBreaker:
    """Counts failures in a row. After `FAILURES` of them it is open, and lets through one call every `OPEN_SECONDS`.

    A dependency that hangs opens it with the first call that ends.

    pybreaker holds a lock during the whole call, so that only one call could run at a time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._failures, self._open_until, self._succeeded_at = 0, 0.0, -math.inf
        self._reason = ""

    def find_refusal(self) -> str | None:
        """Returns the reason of the last failure if the breaker is open; None if the caller may call."""
        with self._lock:
            if self._failures < FAILURES:
                return None
            if self._clock() >= self._open_until:  # this caller tries; the others wait for its result
                self._open_until = self._clock() + OPEN_SECONDS
                return None
            return self._reason

    def succeed(self) -> None:
        """Closes the breaker."""
        with self._lock:
            self._failures, self._succeeded_at = 0, self._clock()

    def fail(self, reason: str, *, waited: float = 0) -> None:
        """Counts a failure.

        Args:
            reason: What callers are told while the breaker is open.
            waited: How long the call waited, in seconds.
        """
        with self._lock:
            hangs = waited >= SILENT_SECONDS and self._succeeded_at < self._clock() - waited
            self._failures = max(FAILURES, self._failures) if hangs else self._failures + 1
            self._reason, self._open_until = reason, self._clock() + OPEN_SECONDS
