"""Recovery: returns lost shards to the queue, sends lost messages again, and restores jobs that Redis has lost.

Any number of processes may run it at the same time: only the first process can make each change.
"""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from uuid import uuid4

import structlog
from celery import Celery

from archetype.contract.job import State
from shared.catalogue.registrations import RegistrationCache
from shared.errors import AttemptsExhausted, ObjectRefused, Problem, Unavailable, UnsupportedFormat
from shared.history.history import History
from shared.history.job_list import JobList
from shared.history.segments import Segments
from shared.lifecycle.fill_history import fill_history
from shared.lifecycle.finish import finish_job, save_shard_result, to_cancelled, to_finished
from shared.lifecycle.move_ended import move_ended
from shared.lifecycle.rebuild import is_abandoned_submission, rebuild
from shared.lifecycle.release_checks import delete_refused, resume_checks
from shared.lifecycle.retention import expire, expire_old
from shared.queue.celery_app import count_messages, send_job
from shared.queue.claims import Claim, ClaimLost, Claims
from shared.queue.release_queue import ReleaseQueue
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.metrics import increment
from shared.state.redis_client import RedisClient
from shared.storage.documents import ShardResult
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox

RELEASE_CHECK_SECONDS = 120.0
"""Time between two searches for registered releases that are not decided: loading one may take a while."""

EXPIRY_SECONDS = 60.0
"""Time between two searches for old results, which list old jobs only."""

RETENTION_SECONDS = 3600.0
"""Time between two counts of everything that is stored, after which tenants that store too much lose results."""

RETENTION_LOCK_SECONDS = 60.0
"""After this time without a sign of the worker that deletes results, or moves ended jobs, another one does."""

HISTORY_SECONDS = 60.0
"""Longest time between two searches for ended jobs to move into the history."""

MAX_SWEEPERS = 3
"""Number of workers that run the recovery, however many workers there are."""

MISSED_SWEEPS = 3.0
"""Number of sweeps that such a worker may miss before another worker takes its place."""

MOST_UNAVAILABLE = 3
"""After so many repairs in a row for which Redis or the store did not answer, the others are not tried."""

MAX_COUNTED = 0.4
"""Part of a lease that counts at most of the time between two looks: an expired lease was seen four times."""

log = structlog.get_logger()


@dataclass
class LeaseMonitor:
    """Finds expired leases: those that have not been renewed for too long.

    It uses the monotonic clock of this process, so that neither a change of the system time nor a new Redis ends a
    lease early or keeps it forever. A worker cannot renew its lease while Redis does not answer, or while the machine
    stands still, and this process cannot look then. So of the time between two looks only a part of a lease counts.

    Attributes:
        seconds: Time after which a lease that is not renewed has expired.
        seen: The last beat of every lease, and for how many seconds it was seen unchanged.
        looked_at: When the leases were seen last, in seconds of the monotonic clock.
    """

    seconds: float
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    looked_at: float = field(default_factory=time.monotonic)

    def find_expired(self, beats: dict[str, str]) -> dict[str, str]:
        """Returns the leases that have expired, with their beats.

        Args:
            beats: The last beat of every lease, by the reference of its shard.
        """
        moment = time.monotonic()
        passed = min(moment - self.looked_at, self.seconds * MAX_COUNTED)
        self.looked_at = moment
        self.seen = {ref: (beat, self._count(ref, beat, passed)) for ref, beat in beats.items()}
        return {ref: beat for ref, (beat, unchanged) in self.seen.items() if unchanged > self.seconds}

    def _count(self, ref: str, beat: str, passed: float) -> float:
        last_beat, unchanged = self.seen.get(ref, ("", 0.0))
        return unchanged + passed if beat == last_beat else 0.0


@dataclass(frozen=True)
class Recovery:
    """Recovers lost shards, messages and jobs."""

    settings: Settings
    redis_client: RedisClient
    job_index: JobIndex
    locks: Locks
    claims: Claims
    storage: JobStore
    outbox: Outbox
    broker: Celery
    leases: LeaseMonitor

    def sweep(self) -> None:
        """Returns lost shards, cancels jobs at their deadlines, admits blocked jobs, and sends a lost message again."""
        expired = self.leases.find_expired(dict(self.claims.leases()))
        for_each(expired, lambda ref: self.return_shard(ref, expired[ref]))
        for_each(self.claims.list_overdue(), lambda job_id: self.cancel(job_id, "deadline"))
        blocked = self.claims.list_blocked()
        for_each(blocked, lambda job_id: self.unblock(job_id, blocked[job_id]))
        self.claims.unpark()
        if self.claims.is_waiting() and not count_messages(self.broker):
            send_job(self.broker, "", "interactive")

    def unblock(self, job_id: str, after: Collection[str]) -> None:
        """Makes the shards of a job claimable if all jobs that it waits for have ended."""
        if all(self.has_ended(earlier) for earlier in after):
            self.claims.unblock(job_id)

    def has_ended(self, job_id: str) -> bool:
        """Returns whether a job has ended or is gone; False if only a newer version can read it."""
        with suppress(UnsupportedFormat):
            job = self.job_index.find(job_id) or rebuild(job_id, self.job_index, self.claims, self.storage)
            return job is None or job.state.terminal
        return False

    def return_shard(self, ref: str, beat: str) -> None:
        """Returns a shard that lost its worker to the queue, or fails it after too many attempts."""
        attempts = self.claims.attempts(ref)
        if attempts < self.settings.max_attempts:
            if self.claims.release(ref, beat, max_attempts=self.settings.max_attempts):
                log.warning("job.abandoned", shard=ref, attempt=attempts)
                increment(self.redis_client, "archetype_shares_returned", "abandoned")
                job_id = ref.rpartition(":")[0]
                if (reason := self.claims.why_cancelled(job_id)) is not None:
                    self.cancel(job_id, reason)
            return
        claim = self.claims.take_over(ref, beat, "sweep")
        if claim is not None:
            log.warning("job.given_up", shard=ref, attempt=attempts)
            increment(self.redis_client, "archetype_shares_returned", "given_up")
            self.give_up(claim)

    def give_up(self, claim: Claim) -> None:
        """Fails a shard whose every attempt was lost; if it was the last one, the job is assembled."""
        job = self.job_index.find(claim.job_id)
        if job is None:
            return
        problem = AttemptsExhausted(
            f"{claim.attempt} workers took this job and stopped responding, the last one while it ran no other job. "
            "The job may crash them, hang, or need more memory than they have. See the workers' logs; submit it again "
            "with fewer targets"
        )
        if (reason := self.claims.why_cancelled(claim.job_id)) is not None and claim.shards == 1:
            finish_job(self.claims, self.storage, self.outbox, claim, to_cancelled(job, reason))
            return
        if claim.is_partial:
            self.fail_shard(claim, problem)
            return
        finish_job(self.claims, self.storage, self.outbox, claim, to_finished(job, State.FAILED, problem=problem))

    def fail_shard(self, claim: Claim, problem: Problem) -> None:
        """Ends one shard of several, with this problem unless its worker stored a result before it died."""
        if not self.has_result(claim):
            save_shard_result(self.claims, self.storage, claim, ShardResult(error=problem.document), "sweep")
        assembly = self.claims.finish_shard(claim, "sweep")
        if assembly is not None:
            self.claims.give_back(assembly, counts=False, max_attempts=self.settings.max_attempts)

    def has_result(self, claim: Claim) -> bool:
        """Whether the result of a shard is in the store and can be read."""
        with suppress(ObjectRefused):
            return self.storage.load_shard_result(claim.job_id, claim.shard) is not None
        return False

    def cancel(self, job_id: str, reason: str) -> None:
        """Cancels a job. It ends it if no worker has claimed it; else its workers notice when they renew the lease."""
        job = self.job_index.find(job_id)
        if job is None or job.state.terminal:
            self.claims.forget_deadline(job_id)
            return
        claim = self.claims.withdraw(job_id, reason, "sweep")
        if claim is not None:
            reason = self.claims.why_cancelled(job_id) or reason
            finish_job(self.claims, self.storage, self.outbox, claim, to_cancelled(job, reason))

    def reconcile(self) -> None:
        """Compares the open jobs in the store with those in Redis, and repairs the differences."""
        unfinished = set(self.job_index.unfinished())
        opened = set(self.storage.list_open())
        for_each(opened - unfinished, self.compare)
        for_each(unfinished - opened, self.end_again)

    def compare(self, job_id: str) -> None:
        """Repairs a job that is open in the store, and not unfinished in Redis."""
        job = self.job_index.find(job_id)
        if job is not None and job.state.terminal:
            self.storage.close(job_id)  # the worker that ended the job died before it could close it
        elif job is None:
            self.rebuild(job_id)

    def rebuild(self, job_id: str) -> None:
        """Restores the record of a job in Redis from the store."""
        try:
            job, moment = rebuild(job_id, self.job_index, self.claims, self.storage), self.redis_client.now()
            if job is None and is_abandoned_submission(job_id, moment):
                self.storage.close(job_id)
        except Problem as problem:
            log.warning("job.unreadable", job_id=job_id, error=problem.detail)

    def end_again(self, job_id: str) -> None:
        """Ends a job in Redis that has ended in the store."""
        try:
            manifest = self.storage.load_manifest(job_id)
        except UnsupportedFormat:
            return
        claim = None if manifest is None else self.claims.withdraw(job_id, "ended", "sweep")
        if claim is not None and manifest is not None:
            self.claims.finish_job(claim, manifest)

    def expire_results(self, kept: set[str]) -> None:
        """Deletes old results, and once per hour those of tenants that store too much.

        Args:
            kept: Ids of old jobs that are kept, for the next call.
        """
        expire_old(self.storage, self.job_list, self.settings, kept)
        if self.locks.take_turn("retention", RETENTION_SECONDS):
            expire(self.storage, self.job_list, self.settings)

    def move_ended(self) -> None:
        """Moves jobs that ended some minutes ago from Redis into the history, and adds what is missing there."""
        needed = {earlier for after in self.claims.list_blocked().values() for earlier in after}
        move_ended(self.storage, self.job_list, self.settings, needed)
        fill_history(self.storage, self.job_list)

    @cached_property
    def job_list(self) -> JobList:
        """The records in Redis together with the history."""
        return JobList(self.job_index, History(Segments(self.storage.bucket), self.locks))

    def send_release_checks(self) -> None:
        """Sends the messages of registered releases that are not decided again, and deletes old refused ones."""
        registrations = self._registrations.read()
        resume_checks(registrations, ReleaseQueue(self.redis_client), self.broker)
        delete_refused(registrations, self.storage, self.locks, self.redis_client.now())

    @cached_property
    def _registrations(self) -> RegistrationCache:
        return RegistrationCache(self.storage)


def for_each(names: Iterable[str], repair: Callable[[str], None]) -> None:
    """Repairs several jobs or shards, in random order. Those that cannot be repaired now do not delay the others.

    Args:
        names: The jobs or shards.
        repair: Repairs one of them.

    Raises:
        Unavailable: Redis or the store did not answer `MOST_UNAVAILABLE` times in a row.
    """
    shuffled, unavailable = list(names), 0
    random.shuffle(shuffled)
    for name in shuffled:
        try:
            repair(name)
            unavailable = 0
        except (ObjectRefused, UnsupportedFormat) as problem:
            log.warning("sweep.refused", of=name, error=problem.detail)
        except Unavailable as problem:
            log.warning("sweep.unavailable", of=name, error=problem.detail)
            unavailable += 1
            if unavailable == MOST_UNAVAILABLE:
                raise
        except (Problem, ClaimLost) as error:
            log.warning("sweep.interrupted", of=name, error=str(error))
        except Exception:  # the recovery must outlive any single job
            log.exception("sweep.failed", of=name)


class RecoveryThreads:
    """Runs the recovery every few seconds in at most `MAX_SWEEPERS` workers, and renews the worker's registration.

    If a thousand workers checked all leases, Redis could do nothing else. Retention and the comparison with the store
    may take minutes, so they have threads of their own: meanwhile the worker must not look dead, and leases must not
    expire unseen.
    """

    def __init__(self, recovery: Recovery) -> None:
        """Creates the threads; `start` starts them."""
        self._recovery = recovery
        self._chores: list[Callable[[], None]] = [self._keep_place]
        self._stop = threading.Event()
        duties: dict[str, list[Callable[[], None]]] = {
            "chores": self._chores,
            "sweeper": [self._sweep],
            "reconciler": [self._reconcile, self._send_release_checks],
            "retention": [self._expire],
            "history": [self._move_ended],
        }
        self._threads = [
            threading.Thread(target=self._run, args=(functions,), name=name, daemon=True)
            for name, functions in duties.items()
        ]
        self._reconciled_at = float("-inf")
        self._name = uuid4().hex
        self._has_place = False
        self._kept: set[str] = set()  # old jobs of audits, so that they are not read every minute

    def add_chore(self, chore: Callable[[], None]) -> None:
        """Adds a function to call each time; it must return quickly."""
        self._chores.append(chore)

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stops the threads; waits for up to ten seconds for each."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():  # it may never have been started
                thread.join(timeout=10)

    def _run(self, functions: list[Callable[[], None]]) -> None:
        while not self._stop.wait(self._recovery.settings.sweep_seconds):
            for function in functions:
                try:
                    function()
                except (Problem, ClaimLost) as error:
                    log.warning("sweep.interrupted", error=str(error))
                except Exception:  # the recovery must outlive any single job
                    log.exception("sweep.failed")

    def _keep_place(self) -> None:
        seconds = MISSED_SWEEPS * self._recovery.settings.sweep_seconds
        self._has_place = self._recovery.locks.keep_place("sweep", self._name, places=MAX_SWEEPERS, seconds=seconds)

    def _sweep(self) -> None:
        if self._has_place:
            self._recovery.sweep()

    def _reconcile(self) -> None:
        if self._has_place and time.monotonic() - self._reconciled_at > self._recovery.settings.reconcile_seconds:
            self._recovery.reconcile()
            self._reconciled_at = time.monotonic()

    def _send_release_checks(self) -> None:
        # In few workers: each keeps the registrations in memory, and reads only those that have changed.
        if self._has_place and self._recovery.locks.take_turn("trials", RELEASE_CHECK_SECONDS):
            self._recovery.send_release_checks()

    def _expire(self) -> None:
        if not self._has_place or not self._recovery.locks.take_turn("expiry", EXPIRY_SECONDS):
            return
        with self._recovery.locks.try_renewed_lock("retention", RETENTION_LOCK_SECONDS) as held:
            if held is not None:
                self._recovery.expire_results(self._kept)

    def _move_ended(self) -> None:
        seconds = min(HISTORY_SECONDS, max(1, self._recovery.settings.history_seconds))
        if not self._has_place or not self._recovery.locks.take_turn("history", seconds):
            return
        with self._recovery.locks.try_renewed_lock("history", RETENTION_LOCK_SECONDS) as held:
            if held is not None:
                self._recovery.move_ended()
