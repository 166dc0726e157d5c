"""Finds what got lost and puts it back: shares whose worker fell silent, messages, jobs that Redis has forgotten.

Any number of processes may do so at the same time: every change is one that only the first can make.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import structlog
from celery import Celery

from shared.broker import count_messages, send_job, send_release
from shared.claims import Claim, ClaimLost, Claims
from shared.counters import count
from shared.ending import cancelled, end_job, ended
from shared.errors import AttemptsExhausted, Newer, Problem
from shared.jobs import Part, State
from shared.rebuilding import is_stillborn, rebuild
from shared.records import Records
from shared.registration import RegistrationState
from shared.retention import expire
from shared.settings import Settings
from shared.storage import Storage

TRIAL_SECONDS = 120.0
"""Between two looks for releases that nobody has decided about: to load one may take a while."""

RETENTION_SECONDS = 3600.0
"""Between two looks for results that were kept for long enough."""

SWEEPERS, PATIENCE = 3, 3.0
"""How many workers sweep, however many there are; and how many looks one may miss before another takes its place."""

log = structlog.get_logger()


@dataclass
class Leases:
    """What is seen of leases: one that stays as it is for too long has run out.

    By a clock of this process that nobody can set, so that neither a jump of the time nor a new Redis ends one early
    or keeps one for ever.
    """

    seconds: float
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def run_out(self, beats: dict[str, str]) -> dict[str, str]:
        """Those of the leases, with their beats, that have run out."""
        moment = time.monotonic()
        self.seen = {
            ref: self.seen[ref] if self.seen.get(ref, ("",))[0] == beat else (beat, moment)
            for ref, beat in beats.items()
        }
        return {ref: beat for ref, (beat, since) in self.seen.items() if moment - since > self.seconds}


@dataclass(frozen=True)
class Sweep:
    """What it takes to put back what got lost."""

    settings: Settings
    records: Records
    claims: Claims
    storage: Storage
    broker: Celery
    leases: Leases

    def look(self) -> None:
        """Looks once."""
        for ref, beat in self.leases.run_out(dict(self.claims.leases())).items():
            self.return_share(ref, beat)
        for job_id in self.claims.due():
            self.cancel(job_id, "deadline")
        for job_id, after in self.claims.held().items():
            if all(self.has_ended(earlier) for earlier in after):
                self.claims.admit(job_id)
        if self.claims.is_waiting() and not count_messages(self.broker):
            send_job(self.broker, "", "interactive")

    def has_ended(self, job_id: str) -> bool:
        """Whether a job has ended, or is gone; of one that a newer version wrote, this one cannot tell."""
        with suppress(Newer):
            job = self.records.find(job_id) or rebuild(job_id, self.records, self.claims, self.storage)
            return job is None or job.state.terminal
        return False

    def return_share(self, ref: str, beat: str) -> None:
        """Gives a share back that lost its worker, or fails it if that has happened too often."""
        attempts = self.claims.attempts(ref)
        if attempts < self.settings.max_attempts:
            if self.claims.release(ref, beat, max_attempts=self.settings.max_attempts):
                log.warning("job.abandoned", share=ref, attempt=attempts)
                count(self.records, "archetype_shares_returned", "abandoned")
                job_id = ref.rpartition(":")[0]
                if (why := self.claims.why_cancelled(job_id)) is not None:
                    self.cancel(job_id, why)
            return
        claim = self.claims.take_over(ref, beat, "sweep")
        if claim is not None:
            log.warning("job.given_up", share=ref, attempt=attempts)
            count(self.records, "archetype_shares_returned", "given_up")
            self.give_up(claim)

    def give_up(self, claim: Claim) -> None:
        """Fails a share that every worker lost."""
        job = self.records.find(claim.job_id)
        problem = AttemptsExhausted(
            f"{claim.attempt} workers took this job and fell silent, the last one without other jobs beside it: it may "
            "crash them, hang, or need more memory than they have. See the workers' logs; submit it again with fewer "
            "targets"
        )
        if job is None:
            return
        if (why := self.claims.why_cancelled(claim.job_id)) is not None and claim.shares == 1:
            end_job(self.claims, self.storage, claim, cancelled(job, why))
            return
        if claim.shares > 1 and not claim.whole:
            if self.storage.load_part(claim.job_id, claim.share) is None:  # else it died with its work done
                self.storage.save_part(claim.job_id, claim.share, claim.fence, Part(error=problem.document))
            whole = self.claims.end_share(claim, "sweep")
            if whole is not None:
                self.claims.give_back(whole, counts=False, max_attempts=self.settings.max_attempts)
            return
        end_job(self.claims, self.storage, claim, ended(job, State.FAILED, problem=problem))

    def cancel(self, job_id: str, why: str) -> None:
        """Cancels a job: those who work on it hear of it."""
        job = self.records.find(job_id)
        if job is None or job.state.terminal:
            self.claims.forget_deadline(job_id)
            return
        claim = self.claims.withdraw(job_id, why, "sweep")
        if claim is not None:
            why = self.claims.why_cancelled(job_id) or why
            end_job(self.claims, self.storage, claim, cancelled(job, why))

    def reconcile(self) -> None:
        """Compares what is open in the store with what Redis knows of, and mends what it has forgotten."""
        unfinished = set(self.records.unfinished())
        opened = set(self.storage.list_open())
        for job_id in opened - unfinished:
            job = self.records.find(job_id)
            if job is not None and job.state.terminal:
                self.storage.close(job_id)  # whoever ended it died just then
            elif job is None:
                self.rebuild(job_id)
        for job_id in unfinished - opened:
            self.end_again(job_id)

    def rebuild(self, job_id: str) -> None:
        """Makes a job's record again."""
        try:
            if rebuild(job_id, self.records, self.claims, self.storage) is None and is_stillborn(job_id):
                self.storage.close(job_id)
        except Problem as problem:
            log.warning("job.unreadable", job_id=job_id, error=problem.detail)

    def end_again(self, job_id: str) -> None:
        """Ends a job that has ended, as its manifest says, and of which Redis has forgotten that."""
        try:
            manifest = self.storage.load_manifest(job_id)
        except Newer:
            return
        claim = None if manifest is None else self.claims.withdraw(job_id, "ended", "sweep")
        if claim is not None and manifest is not None:
            self.claims.finish(claim, manifest)

    def send_trials(self) -> None:
        """Sends every release again that was registered and that no worker has decided about."""
        for name, release in self.storage.list_registrations():
            registration = self.storage.load_registration(name, release)
            if registration is not None and registration.state is RegistrationState.TRYING:
                log.warning("release.sent_again", model=registration.entry.reference)
                send_release(self.broker, name, release)


class Sweeper:
    """Sweeps every few seconds, where not enough others do, and says meanwhile that this worker is there.

    A thousand workers that all looked at all leases would keep Redis busy with nothing else. What may take minutes has
    a thread of its own: nobody is to be taken for dead because results are counted.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._chores: list[Callable[[], None]] = [self._take_place]
        self._stop = threading.Event()
        duties = {"chores": self._chores, "sweeper": [self._look, self._reconcile, self._send_trials]}
        self._threads = [
            threading.Thread(target=self._run, args=(what,), name=name, daemon=True)
            for name, what in (duties | {"retention": [self._expire]}).items()
        ]
        self._reconciled = float("-inf")
        self._name = uuid4().hex
        self._sweeps = False

    def also(self, chore: Callable[[], None]) -> None:
        """Something else to do each time; it must take no time."""
        self._chores.append(chore)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():  # else it was never begun
                thread.join(timeout=10)

    def _run(self, duties: list[Callable[[], None]]) -> None:
        while not self._stop.wait(self._sweep.settings.sweep_seconds):
            for duty in duties:
                try:
                    duty()
                except (Problem, ClaimLost) as error:
                    log.warning("sweep.interrupted", error=str(error))
                except Exception:  # the sweep must outlive what it finds
                    log.exception("sweep.failed")

    def _take_place(self) -> None:
        seconds = PATIENCE * self._sweep.settings.sweep_seconds
        self._sweeps = self._sweep.records.keep_place("sweep", self._name, places=SWEEPERS, seconds=seconds)

    def _look(self) -> None:
        if self._sweeps:
            self._sweep.look()

    def _reconcile(self) -> None:
        if self._sweeps and time.monotonic() - self._reconciled > self._sweep.settings.reconcile_seconds:
            self._sweep.reconcile()
            self._reconciled = time.monotonic()

    def _send_trials(self) -> None:
        if self._sweep.records.take_turn("trials", TRIAL_SECONDS):
            self._sweep.send_trials()

    def _expire(self) -> None:
        if self._sweep.records.take_turn("retention", RETENTION_SECONDS):
            expire(self._sweep.storage, self._sweep.records, self._sweep.settings)
