"""Liveness files: a process touches its file while it works, and a liveness probe checks the age of the file.

A worker may answer Celery's pings after it has stopped consuming messages. A worker therefore sends a message to itself
from time to time and touches its file when it receives the message. While it computes, and receives none, the thread
that renews its leases touches the file.
"""

import time
from collections.abc import Callable
from pathlib import Path

ECHO_INTERVAL_SECONDS = 20.0
"""Time between two messages of a worker to itself. A probe should allow several intervals."""


def touch_liveness_file(folder: Path | None, process: str) -> None:
    """Touches the file of a process, unless liveness files are turned off.

    Args:
        folder: The folder of the liveness files, or None if they are turned off.
        process: Name of the file: `worker`, `scheduler` or `webhook-sender`.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / process).touch()


def throttle(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """A function that calls `act`, but does nothing if the last call was less than so many seconds ago."""
    last = float("-inf")

    def act_if_due() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            act()

    return act_if_due
