"""What the commands of this folder have in common: exit codes, and how they end when they are interrupted."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 plus the number of SIGINT."""


class Terminated(BaseException):
    """The process was asked to stop by SIGTERM."""


def run_command(command: Callable[[], int]) -> int:
    """Runs a command, and returns its exit code: 130 after Ctrl-C, 0 after SIGTERM, 1 after an error.

    What the command has started is stopped in both cases. Errors are printed as a sentence, without a traceback.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return command()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("stopped", file=sys.stderr)
        return 0
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated
