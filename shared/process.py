"""What a process asks of its system."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def die_with_parent() -> None:
    """Asks Linux to kill this process when its parent dies, however that dies; elsewhere this does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
