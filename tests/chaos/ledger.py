"""Tracks every accepted job of a scenario until it has ended, and then checks its results.

A job is *lost* if it was accepted (202) and has not ended long after the faults. A job is *doubled* if its document or
its artifacts changed after it was first seen to have ended, or if they are not exactly the requested ones.

A *recovery* begins when a process is killed or a fault ends. It lasts until every job that was running then has taken a
further step or has ended; if none was running, until the first queued job has. After a kill, it includes the time until
the service detects the loss.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from archetype.client import Client, ServiceError
from archetype.contract.job import Job, State
from archetype.contract.request import AnyRequest, ClassModel, Saliency
from tests.support.waiting import wait_until

ROUND_SECONDS = 0.2
"""Time in which every job that has not ended is read once."""

POLL_SECONDS = 0.02
"""Least pause between two requests for jobs, so that polling does not keep the cores busy."""

ACCEPT_SECONDS = 90.0
"""How long a client repeats a request that is not accepted."""


@dataclass
class Entry:
    """An accepted job."""

    id: str
    request: AnyRequest
    last: Job
    first_end: Job | None = None

    @property
    def position(self) -> tuple[int, int]:
        """The attempt and the number of steps done."""
        return self.last.attempt, self.last.progress.done


@dataclass
class Recovery:
    """The time from a fault until work goes on.

    Attributes:
        positions: The positions (attempt, steps done) of the jobs at the time of the fault.
        all: Whether all jobs have to advance, or only one.
    """

    began: float
    positions: dict[str, tuple[int, int]]
    all: bool
    seconds: float | None = None

    def update(self, entry: Entry) -> None:
        """Takes the current state of a job into account."""
        if self.seconds is None and self._has_advanced(entry):
            self.positions.pop(entry.id)
            if not self.all or not self.positions:
                self.seconds = time.monotonic() - self.began

    def _has_advanced(self, entry: Entry) -> bool:
        if entry.id not in self.positions:
            return False
        has_moved = entry.last.state is State.RUNNING and entry.position != self.positions[entry.id]
        return entry.last.state.terminal or has_moved


@dataclass(frozen=True)
class Row:
    """The result of a scenario."""

    number: int
    title: str
    accepted: int = 0
    ended: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    doubled: int = 0
    recovery: float | None = None
    seconds: float = 0
    unmet: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.unmet)


class Ledger:
    """The jobs of one scenario."""

    def __init__(self, url: str, *, key: str | None = None) -> None:
        self.client = Client(url, timeout=20, key=key, retry_seconds=0)
        self.entries: dict[str, Entry] = {}
        self.recoveries: list[Recovery] = []
        self.unmet: list[str] = []
        self.notes: list[str] = []
        self._given_up: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> "Ledger":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        self.client.close()

    def expect(self, holds: object, sentence: str) -> None:
        """Records an expectation that does not hold."""
        if not holds:
            self.unmet.append(sentence)

    def submit(self, request: AnyRequest, *, key: str | None = None) -> Job:
        """Submits a request once. Raises `ServiceError` if it is not accepted."""
        job = self.client.submit(request, idempotency_key=key)
        self.follow(job, request)
        return job

    def follow(self, job: Job, request: AnyRequest) -> None:
        """Adds a job that was accepted."""
        with self._lock:
            self.entries.setdefault(job.id, Entry(job.id, request, job))

    def insist(self, request: AnyRequest, *, key: str, seconds: float = ACCEPT_SECONDS) -> Job:
        """Repeats a request with the same idempotency key until it is accepted."""
        limit = time.monotonic() + seconds
        while True:
            try:
                return self.submit(request, key=key)
            except ServiceError as error:
                final = error.problem is not None and error.problem.status not in {429, 503, 507}
                if final or time.monotonic() > limit:
                    raise
            time.sleep(0.3)

    def refresh(self, job_id: str) -> Job | None:
        """Reads the state of a job; returns None if the service does not answer."""
        try:
            job = self.client.job(job_id)
        except ServiceError:
            return None
        with self._lock:
            entry = self.entries[job_id]
            entry.last = job
            if job.state.terminal and entry.first_end is None:
                entry.first_end = job
            for recovery in self.recoveries:
                recovery.update(entry)
        return job

    def wait(self, job_id: str, *, seconds: float = 180) -> Job | None:
        """Waits until a job has ended; returns None if it has not within the limit."""
        self.wait_until(lambda: self.entries[job_id].first_end is not None, seconds=seconds)
        return self.entries[job_id].first_end

    def wait_for_step(self, job_id: str, *, done: int = 1, seconds: float = 180) -> bool:
        """Waits until a job is running and has done a number of steps; returns False if that was not observed."""

        def is_running() -> bool:
            self.refresh(job_id)
            entry = self.entries[job_id]
            return entry.first_end is not None or (
                entry.last.state is State.RUNNING and entry.last.progress.done >= done
            )

        return self.wait_until(is_running, seconds=seconds) and self.entries[job_id].first_end is None

    def wait_until(self, holds: Callable[[], object], *, seconds: float) -> bool:
        """Waits until a condition holds; returns False if it does not within the limit."""
        try:
            wait_until(holds, seconds)
        except TimeoutError:
            return False
        return True

    def begin_recovery(self) -> None:
        """Starts the measurement of a recovery, after a kill or the end of a fault."""
        began = time.monotonic()
        was_running = [entry for entry in self.open_entries() if entry.last.state is State.RUNNING]
        for entry in was_running:
            self.refresh(entry.id)
        still_open = self.open_entries()
        running = [entry for entry in was_running if entry in still_open]
        positions = {entry.id: entry.position for entry in running or still_open}
        if positions:
            with self._lock:
                self.recoveries.append(Recovery(began, positions, all=bool(running)))

    def open_entries(self) -> list[Entry]:
        """Returns the jobs that have not been seen to have ended."""
        with self._lock:
            return [entry for entry in self.entries.values() if entry.first_end is None]

    def settle(self, *, seconds: float) -> None:
        """Waits up to a limit until all accepted jobs have ended. Later calls do not wait for the same jobs again."""
        self.wait_until(self.is_over, seconds=seconds)
        self._given_up |= {entry.id for entry in self.open_entries()}

    def is_over(self) -> bool:
        """Whether all jobs have ended or were given up by `settle`."""
        return {entry.id for entry in self.open_entries()} <= self._given_up

    def audit(self, number: int, title: str, *, seconds: float) -> Row:
        """Checks every job and every artifact again, and returns the result of the scenario."""
        entries = list(self.entries.values())
        states = Counter(entry.first_end.state for entry in entries if entry.first_end is not None)
        doubled = [wrong for entry in entries for wrong in self._find_wrong(entry)]
        self.notes += [f"not as it was: {wrong}" for wrong in doubled[:5]]
        lost = self.open_entries()
        self.notes += [f"lost: {entry.id}, last seen {entry.last.state}" for entry in lost[:5]]
        times = [recovery.seconds for recovery in self.recoveries if recovery.seconds is not None]
        return Row(
            number=number,
            title=title,
            accepted=len(entries),
            ended=states.total(),
            succeeded=states[State.SUCCEEDED],
            failed=states[State.FAILED],
            cancelled=states[State.CANCELLED],
            lost=len(lost),
            doubled=len({wrong.split(":")[0] for wrong in doubled}),
            recovery=round(max(times), 1) if times else None,
            seconds=round(seconds, 1),
            unmet=self.unmet,
            notes=self.notes,
        )

    def _find_wrong(self, entry: Entry) -> list[str]:
        if entry.first_end is None:
            return []
        try:
            job = self.client.job(entry.id)
            wrong = [artifact.name for artifact in job.artifacts if not self._is_whole(job, artifact.name)]
        except ServiceError as error:
            return [f"{entry.id}: {error}"]
        faults = [f"{entry.id}: {name} does not match its digest" for name in wrong]
        if _without_links(job) != _without_links(entry.first_end):
            faults.append(f"{entry.id}: its document has changed: {_differences(entry.first_end, job)}")
        if job.state is State.SUCCEEDED and _count_results(job) != _count_expected(entry.request):
            faults.append(f"{entry.id}: its results are {sorted(_count_results(job).items())}")
        return faults

    def _is_whole(self, job: Job, name: str) -> bool:
        artifact = next(known for known in job.artifacts if known.name == name)
        return hashlib.sha256(self.client.fetch(artifact)).hexdigest() == artifact.sha256

    def _watch(self) -> None:
        while not self._stop.is_set():
            entries = self.open_entries()
            pause = max(POLL_SECONDS, ROUND_SECONDS / max(1, len(entries)))
            for entry in entries:
                if self._stop.wait(pause):
                    return
                with suppress(KeyError):
                    self.refresh(entry.id)
            if not entries:
                self._stop.wait(pause)


def _without_links(job: Job) -> dict[str, object]:
    return job.model_dump(mode="json", exclude={"links"})


def _differences(first: Job, second: Job) -> list[str]:
    before, after = _without_links(first), _without_links(second)
    return [name for name in before if before[name] != after.get(name)]


def _count_results(job: Job) -> Counter[tuple[str | None, str]]:
    return Counter((artifact.image, artifact.target.name) for artifact in job.artifacts if artifact.target is not None)


def _count_expected(request: AnyRequest) -> Counter[tuple[str | None, str]]:
    """One result for each pair of image and target. The requests of the scenarios ask for one file per target."""
    match request:
        case ClassModel(targets=list(targets)):
            return Counter((None, str(target)) for target in targets)
        case Saliency(targets=list(targets)):
            return Counter((picture.id, str(target)) for picture in request.pictures for target in targets)
    raise ValueError(f"the ledger does not know the results of {request.method}")
