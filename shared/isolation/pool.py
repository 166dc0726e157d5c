"""Child processes that are kept for further tasks, and replaced when they exceed a limit."""

import math
import time
import weakref
from threading import Lock

from shared.isolation.child import Child, Limits
from shared.isolation.frames import Frame

MAX_TASKS = 1000
"""Tasks after which a child is replaced, so that what it leaks is bounded."""


class ChildPool:
    """Child processes that run one module. Each is started when it is needed, and ends with the pool."""

    def __init__(self, module: str, limits: Limits) -> None:
        """Creates a pool without children.

        Args:
            module: Module of the children; it calls `serve`.
            limits: Limits of each child.
        """
        self.limits = limits
        self._module = module
        self._lock = Lock()
        self._idle: list[Child] = []
        self._finalizer = weakref.finalize(self, _end_all, self._idle)

    def carry_out(self, task: str, frame: Frame, *, max_data: int = 0, deadline: float = math.inf) -> Frame:
        """Carries out a task in a child that has no other.

        Args:
            task: Name of the task.
            frame: Its arguments, data and file.
            max_data: Largest number of bytes in the answer.
            deadline: When to stop, by `time.monotonic`, if that is before the limit of a task.

        Raises:
            TaskFailed: The child exceeded a limit, or died.
        """
        child = self._take()
        answer = child.carry_out(
            task,
            frame,
            cpu_seconds=self.limits.cpu_seconds,
            deadline=min(deadline, time.monotonic() + self.limits.seconds),
            max_data=max_data,
        )
        if child.tasks >= MAX_TASKS:
            child.end()
        else:
            with self._lock:
                self._idle.append(child)
        return answer

    def close(self) -> None:
        """Ends the children that have no task."""
        with self._lock:
            _end_all(self._idle)

    def _take(self) -> Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_alive():
                    return child
                child.end()
        return Child(self._module, self.limits)


def _end_all(children: list[Child]) -> None:
    while children:
        children.pop().end()
