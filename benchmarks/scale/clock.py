"""A simulated clock: greenlets that sleep on it run one after another, each at its simulated time."""

import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from greenlet import getcurrent, greenlet


class SimulatedClock:
    """The time of a simulation, in seconds. It passes only between two events.

    Attributes:
        seconds: The current time.
    """

    def __init__(self) -> None:
        self.seconds = time.monotonic()
        self._events: list[tuple[float, int, greenlet]] = []
        self._next: dict[greenlet, int] = {}  # the event of each greenlet that counts: its last one
        self._numbers = itertools.count()
        self._children: dict[greenlet, list[greenlet]] = {}
        self._main = getcurrent()

    def read(self) -> float:
        """The current time."""
        return self.seconds

    def spawn(self, function: Callable[[], object], *, after: float = 0.0, is_child: bool = False) -> greenlet:
        """Runs a function in a greenlet of its own, which may sleep.

        Args:
            function: The function.
            after: Seconds until it runs.
            is_child: Whether it stops with the current greenlet.
        """
        process = greenlet(function, self._main)
        if is_child:
            siblings = [other for other in self._children.get(getcurrent(), []) if not other.dead]
            self._children[getcurrent()] = [*siblings, process]
        self._plan(process, after)
        return process

    def stop(self, process: greenlet) -> None:
        """Never runs a greenlet and its children again, as if their machine had lost power: they cannot clean up."""
        self._next[process] = -1
        for child in self._children.pop(process, []):
            self.stop(child)

    def wake(self, process: greenlet) -> None:
        """Ends the sleep of a greenlet now."""
        self._plan(process, 0.0)

    def sleep(self, seconds: float) -> None:
        """Lets the time pass. In the main greenlet, which prepares the simulation, no time passes."""
        process = getcurrent()
        if process is not self._main:
            self._plan(process, seconds)
            self._main.switch()

    def run(self, seconds: float) -> None:
        """Runs all greenlets for a time."""
        end = self.seconds + seconds
        while self._events and self._events[0][0] <= end:
            moment, number, process = heapq.heappop(self._events)
            if self._next.get(process) == number:
                self.seconds = moment
                process.switch()
                if process.dead:
                    del self._next[process]
        self.seconds = end

    def _plan(self, process: greenlet, after: float) -> None:
        number = self._next[process] = next(self._numbers)
        heapq.heappush(self._events, (self.seconds + after, number, process))


@contextmanager
def replaced_time(clock: SimulatedClock) -> Iterator[None]:
    """Makes `time.monotonic` that of the simulation for the length of a `with` block."""
    with patch("time.monotonic", clock.read):
        yield
