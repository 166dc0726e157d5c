"""Threads of a worker as greenlets on the simulated clock."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from benchmarks.scale.clock import SimulatedClock

T = TypeVar("T")


class SimulatedFuture(Future[T]):
    """The result of a call; who waits for it lets the time pass."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._simulated_clock = clock
        self._waiting: list[greenlet] = []

    def result(self, timeout: float | None = None) -> T:  # noqa: ARG002
        """Waits for the result."""
        if not self.done():
            self._waiting.append(getcurrent())
            self._simulated_clock.sleep(float("inf"))
        return super().result(0)

    def end(self, function: Callable[[], T]) -> None:
        """Makes the call, and wakes those who wait."""
        try:
            self.set_result(function())
        except Exception as error:
            self.set_exception(error)
        for process in self._waiting:
            self._simulated_clock.wake(process)


class SimulatedPool(Executor):
    """Runs some calls at the same time, the others after them.

    Args:
        clock: The simulated clock.
        size: Number of calls at the same time.
    """

    def __init__(self, clock: SimulatedClock, size: int) -> None:
        self._clock, self._free = clock, size
        self._calls: deque[tuple[SimulatedFuture[Any], Callable[[], Any]]] = deque()

    def submit(self, function: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Starts a call, or keeps it until another one has ended."""
        future: SimulatedFuture[T] = SimulatedFuture(self._clock)
        self._calls.append((future, lambda: function(*args, **options)))
        if self._free:
            self._free -= 1
            self._clock.spawn(self._run, is_child=True)
        return future

    def _run(self) -> None:
        while self._calls:
            future, function = self._calls.popleft()
            future.end(function)
        self._free += 1
