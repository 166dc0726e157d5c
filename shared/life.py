"""A file that is touched as long as a process does what it is for: what a liveness probe looks at.

A worker that answers pings may have stopped taking messages. So it sends itself one now and then, and touches the file
when it comes; while it works, and takes none, whoever renews its leases does.
"""

import time
from collections.abc import Callable
from pathlib import Path

ECHO_EVERY = 20.0
"""Seconds; a probe should wait for several of them."""


def show_life(folder: Path | None, who: str) -> None:
    """Touches the file of a kind of process, where there is to be one."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / who).touch()


def every(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """The same, but not more often."""
    last = float("-inf")

    def act_now_and_then() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            act()

    return act_now_and_then
