"""A child process that carries out tasks with limits on memory and time."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import structlog

from shared.isolation.frames import Ended, Frame, InvalidFrame, receive, send

START_SECONDS = 60
"""How long a child may take to start, on a machine that is busy."""

log = structlog.get_logger()


class Limit(StrEnum):
    """Why a child did not finish a task."""

    MEMORY = "memory"
    CPU = "CPU time"
    TIME = "time"
    CRASH = "crash"


class TaskFailed(Exception):
    """A child exceeded a limit, or died, with a task; it is not used again.

    Attributes:
        limit: The limit.
    """

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self.limit = limit


@dataclass(frozen=True)
class Limits:
    """Limits of a child.

    Attributes:
        memory: Bytes of memory that it may have.
        cpu_seconds: CPU time of one task.
        seconds: Time of one task on the clock; more than the CPU time, because other processes use the CPU too.
        niceness: How much lower its priority is than that of its parent.
    """

    memory: int
    cpu_seconds: float
    seconds: float
    niceness: int = 0


class Child:
    """A child process; one thread at a time may use it.

    It inherits no file of its parent apart from the connection, and no variable of its environment: no secrets. What
    libraries write about a file is discarded.
    """

    def __init__(self, module: str, limits: Limits) -> None:
        """Starts a process.

        Args:
            module: Module that is run; it calls `serve`.
            limits: Its limits.

        Raises:
            TaskFailed: It did not start.
        """
        self.limits = limits
        self.tasks = 0
        self._connection, theirs = socket.socketpair()
        command = [sys.executable, "-m", module, *map(str, (theirs.fileno(), limits.memory, limits.niceness))]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                env=_make_environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._receive(time.monotonic() + START_SECONDS, max_data=0)

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def carry_out(self, task: str, frame: Frame, *, cpu_seconds: float, deadline: float, max_data: int) -> Frame:
        """Sends a task and returns the answer.

        Args:
            task: Name of the task.
            frame: Its arguments, data and file.
            cpu_seconds: CPU time that it may use.
            deadline: When the child is ended, by `time.monotonic`.
            max_data: Largest number of bytes in the answer.

        Raises:
            TaskFailed: It exceeded a limit, or died.
        """
        try:
            return self._exchange(task, frame, cpu_seconds, deadline, max_data)
        except TaskFailed:
            raise
        except BaseException:  # the thread was interrupted: the answer would come to the next task
            self.end()
            raise

    def _exchange(self, task: str, frame: Frame, cpu_seconds: float, deadline: float, max_data: int) -> Frame:
        self.tasks += 1
        document = {**frame.document, "task": task, "cpu_seconds": cpu_seconds}
        try:
            send(self._connection, Frame(document, frame.data, frame.file), deadline)
        except TimeoutError as error:
            raise self._fail(Limit.TIME) from error
        except OSError as error:
            raise self._fail(self._explain_end()) from error
        answer = self._receive(deadline, max_data=max_data)
        if answer.document.get("limit") == Limit.MEMORY:
            raise self._fail(Limit.MEMORY)
        if "fault" in answer.document:
            log.error("child.failed", task=task, fault=str(answer.document["fault"])[:4000])
            raise self._fail(Limit.CRASH)
        return answer

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _receive(self, deadline: float, *, max_data: int) -> Frame:
        try:
            return receive(self._connection, deadline, max_data=max_data)
        except TimeoutError as error:
            raise self._fail(Limit.TIME) from error
        except (Ended, OSError) as error:
            raise self._fail(self._explain_end()) from error
        except InvalidFrame as error:
            raise self._fail(Limit.CRASH) from error

    def _explain_end(self) -> Limit:
        """Returns why the process ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5)
            return {-signal.SIGPROF: Limit.CPU, -signal.SIGKILL: Limit.MEMORY}.get(code, Limit.CRASH)
        return Limit.CRASH

    def _fail(self, limit: Limit) -> TaskFailed:
        self.end()
        log.warning("child.ended", pid=self.pid, limit=str(limit))
        return TaskFailed(limit)


def _make_environment() -> dict[str, str]:
    """Returns the variables of a child: where packages are, one thread, and memory that is returned when freed."""
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 24),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 26),
    }
