"""The side of the child: sets its limits, then carries out one task after the other until its parent ends."""

import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import Problem
from shared.isolation.frames import Ended, Frame, receive, send

Task = Callable[[Frame], Frame]
"""Carries out a task. Raises a `Problem` that says what is wrong with the input."""

LIMITS_MEMORY = sys.platform == "linux"
"""Other systems do not count mapped memory towards a limit."""


def serve(tasks: Mapping[str, Task]) -> None:
    """Carries out tasks until the connection ends; the arguments of the process name it and the limits."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    _limit(int(sys.argv[2]), int(sys.argv[3]))
    send(connection, Frame({"ready": True}))
    while True:
        try:
            request = receive(connection)
        except (Ended, OSError):
            return
        answer = _carry_out(tasks, request)
        if request.file is not None:
            os.close(request.file)
        send(connection, answer)
        del request, answer


def _limit(memory: int, niceness: int) -> None:
    os.nice(niceness)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if LIMITS_MEMORY:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _carry_out(tasks: Mapping[str, Task], request: Frame) -> Frame:
    """Carries out a task. If it needs more CPU time than allowed, SIGPROF ends the process."""
    signal.setitimer(signal.ITIMER_PROF, request.document["cpu_seconds"])
    try:
        return tasks[request.document["task"]](request)
    except Problem as problem:
        return Frame({"problem": type(problem).__name__, **_describe(problem)})
    except MemoryError:
        return Frame({"limit": "memory"})
    except Exception:
        return Frame({"fault": traceback.format_exc()})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _describe(problem: Problem) -> dict[str, Any]:
    return {
        "detail": problem.detail,
        "errors": [error.model_dump(mode="json", exclude_none=True) for error in problem.errors],
    }
