"""Waiting: polls a job or an audit until it has ended, within a limit for the whole wait."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from archetype.contract.job import Job
from archetype.errors import NoConnection, RateLimited, TimedOut, Unavailable
from archetype.transport import MIN_REQUEST_SECONDS

if TYPE_CHECKING:
    from archetype.contract.audit import AuditView

FIRST_PAUSE_SECONDS = 0.02
"""The first pause between two polls. Pauses grow with the time waited, so short jobs are not waited for long."""

MAX_FAILURES = 5
"""Polls in a row that may fail because the service does not answer or has no capacity."""

Polled = TypeVar("Polled", Job, "AuditView")


def poll(read: Callable[[float], Polled], name: str, *, timeout: float, pause: float) -> Iterator[Polled]:
    """Yield the states of a job or an audit, the terminal one last.

    Args:
        read: Reads the current state; takes the number of seconds that are left.
        name: What is waited for, for messages.
        timeout: Seconds for the whole wait.
        pause: The longest pause between two polls in seconds.

    Raises:
        TimedOut: It has not ended in time.
    """
    began, failures, view = time.monotonic(), 0, None
    while True:
        left = began + timeout - time.monotonic()
        try:
            view = read(max(left, MIN_REQUEST_SECONDS))
        except (NoConnection, RateLimited, TimedOut, Unavailable) as error:
            failures += 1
            if view is None or failures > MAX_FAILURES:
                raise
            delay = error.retry_after or failures
        else:
            yield view
            if view.state.terminal:
                return
            failures = 0
            delay = min(pause, max(FIRST_PAUSE_SECONDS, (time.monotonic() - began) / 5))
        left = began + timeout - time.monotonic()
        if left <= 0:
            raise TimedOut(f"{name} has not ended after {timeout:g} s; it is still {view.state}")
        time.sleep(min(delay, left))
