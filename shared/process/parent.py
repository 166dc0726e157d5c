"""Binds the life of a process to that of its parent."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Defined in linux/prctl.h."""


def die_with_parent(parent: int | None = None) -> None:
    """Makes Linux kill this process when its parent dies for any reason. Does nothing on other systems.

    Args:
        parent: Process id of the parent. If the parent died before this call, this process has another parent by now,
            and ends at once. Without the id, such a process would survive.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
