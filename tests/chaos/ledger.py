"""What the service promised and what came of it: every accepted job is watched until it has ended, and then audited.

*Lost* is an accepted job (202) that has not ended long after the faults have. *Doubled* is one whose document or
artefacts are not what they were when it was first seen to have ended, or are not exactly what was asked for.

A *recovery* begins when something is killed or a fault ends. It lasts until every job that was running then has been
seen to take a further step, or to have ended; where none was running, until the first that waited does. The clock of
what is killed begins with the kill, so that it includes the time until somebody notices.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from shared.client import Client, ServiceError
from shared.jobs import Job, State
from shared.methods import AnyRequest, ClassModel, Saliency

GLANCE_SECONDS = 0.02
"""Between two looks at jobs: the watch must not be what keeps two cores busy."""

ACCEPT_SECONDS = 90.0
"""Longest that a client repeats a request that is not accepted."""


@dataclass
class Entry:
    """A job that was accepted."""

    id: str
    request: AnyRequest
    last: Job
    first_end: Job | None = None

    @property
    def place(self) -> tuple[int, int]:
        return self.last.attempt, self.last.progress.done


@dataclass
class Recovery:
    """The time from a fault until work goes on.

    Attributes:
        places: Where the jobs stood (attempt, steps done) that it waits for.
        all: Whether all of them have to move, or one.
    """

    began: float
    places: dict[str, tuple[int, int]]
    all: bool
    seconds: float | None = None

    def see(self, entry: Entry) -> None:
        if self.seconds is None and self._moved(entry):
            self.places.pop(entry.id)
            if not self.all or not self.places:
                self.seconds = time.monotonic() - self.began

    def _moved(self, entry: Entry) -> bool:
        if entry.id not in self.places:
            return False
        going_on = entry.last.state is State.RUNNING and entry.place != self.places[entry.id]
        return entry.last.state.terminal or going_on


@dataclass(frozen=True)
class Row:
    """What a scenario came to."""

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

    def __init__(self, url: str) -> None:
        self.client = Client(url, timeout=20)
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
        """Notes an expectation that does not hold."""
        if not holds:
            self.unmet.append(sentence)

    def submit(self, request: AnyRequest, *, key: str | None = None) -> Job:
        """One POST. Raises `ServiceError` where it is not accepted."""
        job = self.client.submit(request, idempotency_key=key)
        with self._lock:
            self.entries.setdefault(job.id, Entry(job.id, request, job))
        return job

    def insist(self, request: AnyRequest, *, key: str, seconds: float = ACCEPT_SECONDS) -> Job:
        """Repeats a POST with the same key until it is accepted, as a client does that has patience."""
        limit = time.monotonic() + seconds
        while True:
            try:
                return self.submit(request, key=key)
            except ServiceError as error:
                final = error.problem is not None and error.problem.status not in {429, 503, 507}
                if final or time.monotonic() > limit:
                    raise
            time.sleep(0.3)

    def look(self, job_id: str) -> Job | None:
        """The job as it stands; None where the service does not say."""
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
                recovery.see(entry)
        return job

    def wait(self, job_id: str, *, seconds: float = 60) -> Job | None:
        """The job once it has ended; None where it has not within the limit."""
        self.wait_until(lambda: self.entries[job_id].first_end is not None, seconds=seconds)
        return self.entries[job_id].first_end

    def wait_for_step(self, job_id: str, *, done: int = 1, seconds: float = 60) -> bool:
        """Waits until a job is at work and has done so many steps; False where it never was seen to be."""

        def at_work() -> bool:
            self.look(job_id)
            entry = self.entries[job_id]
            return entry.first_end is not None or (
                entry.last.state is State.RUNNING and entry.last.progress.done >= done
            )

        return self.wait_until(at_work, seconds=seconds) and self.entries[job_id].first_end is None

    def wait_until(self, holds: Callable[[], object], *, seconds: float) -> bool:
        """Waits until something holds; False where it does not within the limit."""
        limit = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > limit:
                return False
            time.sleep(0.05)
        return True

    def struck(self) -> None:
        """A recovery begins: something was just killed, or a fault has just ended."""
        began = time.monotonic()
        at_work = [entry for entry in self.open_entries() if entry.last.state is State.RUNNING]
        for entry in at_work:
            self.look(entry.id)
        still = self.open_entries()
        running = [entry for entry in at_work if entry in still]
        places = {entry.id: entry.place for entry in running or still}
        if places:
            with self._lock:
                self.recoveries.append(Recovery(began, places, all=bool(running)))

    def open_entries(self) -> list[Entry]:
        """The jobs that were not yet seen to have ended."""
        with self._lock:
            return [entry for entry in self.entries.values() if entry.first_end is None]

    def settle(self, *, seconds: float) -> None:
        """Waits until everything that was accepted has ended, for so long at most, and not twice for the same job."""
        self.wait_until(self.is_over, seconds=seconds)
        self._given_up |= {entry.id for entry in self.open_entries()}

    def is_over(self) -> bool:
        """Whether everything has ended, or was waited for in vain."""
        return {entry.id for entry in self.open_entries()} <= self._given_up

    def audit(self, number: int, title: str, *, seconds: float) -> Row:
        """Looks at every job once more, and at every artefact."""
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
        found = [f"{entry.id}: {name} is not what its digest says" for name in wrong]
        if _without_links(job) != _without_links(entry.first_end):
            found.append(f"{entry.id}: its document has changed: {_differences(entry.first_end, job)}")
        if job.state is State.SUCCEEDED and _pictures_of(job) != _asked_of(entry.request):
            found.append(f"{entry.id}: its pictures are {sorted(_pictures_of(job).items())}")
        return found

    def _is_whole(self, job: Job, name: str) -> bool:
        artifact = next(known for known in job.artifacts if known.name == name)
        return hashlib.sha256(self.client.fetch(artifact)).hexdigest() == artifact.sha256

    def _watch(self) -> None:
        while not self._stop.is_set():
            for entry in self.open_entries():
                if self._stop.wait(GLANCE_SECONDS):
                    return
                with suppress(KeyError):
                    self.look(entry.id)
            self._stop.wait(GLANCE_SECONDS)


def _without_links(job: Job) -> dict[str, object]:
    return job.model_dump(mode="json", exclude={"links"})


def _differences(first: Job, second: Job) -> list[str]:
    one, other = _without_links(first), _without_links(second)
    return [name for name in one if one[name] != other.get(name)]


def _pictures_of(job: Job) -> Counter[tuple[str | None, str]]:
    return Counter((artifact.image, artifact.target.name) for artifact in job.artifacts if artifact.target is not None)


def _asked_of(request: AnyRequest) -> Counter[tuple[str | None, str]]:
    """Each target once, and of every picture that is looked at. Our requests ask for one file per target."""
    match request:
        case ClassModel(targets=list(targets)):
            return Counter((None, str(target)) for target in targets)
        case Saliency(targets=list(targets)):
            return Counter((picture.id, str(target)) for picture in request.pictures for target in targets)
    raise ValueError(f"the ledger cannot tell what {request.method} should have made")
