"""Starts the parts of a local stack again when they die."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.processes import ProcessGroup

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.5, 15.0
"""Wait before a part that died is started again; it doubles with each further failure in a row up to the maximum."""

STABLE_SECONDS = 30.0
"""A part that has run for so long has no failures any more."""

MAX_FAILURES = 5
"""A part that ends by itself so many times in a row, each time within `STABLE_SECONDS`, cannot be kept running."""

MAX_KILLS = 20
"""The same for a part that was killed: by a person, or because the machine has no memory left, which may pass."""

KILLED = "killed by SIGKILL"


@dataclass
class _Part:
    """What the supervisor knows about one part.

    Attributes:
        started: When the part was started last.
        failures: Failures in a row.
        due: When the part is started again; None while it runs.
    """

    started: float
    failures: int = 0
    due: float | None = None


@dataclass
class Supervisor:
    """Starts the children of a process group again when they die.

    Attributes:
        processes: The group. Children that were stopped on purpose stay stopped.
        report: Is called with a line of text about each failure and each start.
        clock: A monotonic clock, in seconds.
    """

    processes: ProcessGroup
    report: Callable[[str], None] = print
    clock: Callable[[], float] = time.monotonic
    _parts: dict[str, _Part] = field(default_factory=dict)

    def tend(self) -> None:
        """Starts the children that have died and whose wait is over. Call it several times per second.

        The calling thread must live as long as the stack: Linux ends a child with the thread that started it.

        Raises:
            RuntimeError: A child cannot be kept running; the message says which, why, and where its log is.
        """
        for name in self.processes.children:
            self._parts.setdefault(name, _Part(self.clock()))
        for name in self.processes.list_ended():
            part = self._parts[name]
            if part.due is None:
                self._record_failure(name, part)
            if part.due is not None and self.clock() >= part.due:
                self.processes.start(name)
                part.started, part.due = self.clock(), None
                self.report(f"{name} was started again (process {self.processes.children[name].pid})")

    def _record_failure(self, name: str, part: _Part) -> None:
        """Decides when a child that has died is started again."""
        reason = self.processes.explain_end(name)
        self.processes.kill_rest(name)
        part.failures = 1 if self.clock() - part.started >= STABLE_SECONDS else part.failures + 1
        if part.failures >= (MAX_KILLS if reason == KILLED else MAX_FAILURES):
            error = self.processes.make_error(name)
            raise RuntimeError(f"{name} cannot be kept running: it died {part.failures} times in a row. {error}")
        wait = min(MAX_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (part.failures - 1))
        part.due = self.clock() + wait
        self.report(f"{name} died ({reason}); it is started again in {wait:g} s; its log is {self.processes.log(name)}")
