"""Renews the leases of running attempts, and detects that one was cancelled, was lost or has run for too long."""

import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog

from archetype.contract.job import Progress
from shared.errors import Problem, TimeLimitExceeded
from shared.process.liveness import touch_liveness_file
from shared.queue.claims import Claim, ClaimLost, Claims, Renewal

BEAT_SECONDS = 1.0
"""Time between two renewals. A cancellation takes effect after this time plus one step, and within two seconds."""

PART_PROGRESS_SECONDS = 2.0
"""Time between two renewals that store the progress of one shard of several. Storing it costs Redis more than the rest
of a renewal, and a job of a thousand shards would do it thousands of times per second."""

HUNG = 70
"""Exit status of a worker that took no step for too long."""

log = structlog.get_logger()


class Cancelled(Exception):
    """The job was cancelled; the argument is the reason."""


class Heartbeat:
    """The lease of one claim. Another thread renews it, because one step may take longer than a lease.

    A renewal that fails because Redis does not answer ends nothing. The attempt goes on until Redis says that the claim
    is void; what it writes under a void claim has no effect.

    Attributes:
        claims: All claims.
        claim: The claim whose lease this is.
        progress: The last reported progress.
        checked_at: Time of the last call of `check`, in seconds of the monotonic clock.
    """

    def __init__(self, claims: Claims, claim: Claim, *, job_seconds: float) -> None:
        self.claims = claims
        self.claim = claim
        self._job_seconds = job_seconds
        self._started = self.checked_at = time.monotonic()
        self._cancel_reason: str | None = None
        self._lost = False
        self._stored_progress_at = -math.inf
        self.progress = Progress()

    def report(self, progress: Progress) -> None:
        """Sets the progress, and raises as `check` does."""
        self.progress = progress
        self.check()

    def check(self) -> None:
        """Raises an exception if the attempt must end.

        Raises:
            ClaimLost: The shard was returned to the queue, or belongs to another worker.
            Cancelled: The job was cancelled.
            TimeLimitExceeded: The attempt has run for longer than the limit.
        """
        self.checked_at = time.monotonic()
        if self._lost:
            raise ClaimLost(self.claim.ref)
        if self._cancel_reason is not None:
            raise Cancelled(self._cancel_reason)
        if self.checked_at - self._started > self._job_seconds:
            raise TimeLimitExceeded(
                f"the job ran for more than {self._job_seconds:.0f} s; ask for fewer steps or targets in one job"
            )

    @property
    def must_end(self) -> bool:
        """Whether `check` would raise."""
        try:
            self.check()
        except (ClaimLost, Cancelled, TimeLimitExceeded):
            return True
        return False

    def note(self, renewal: Renewal) -> None:
        """Notes the answer to a renewal."""
        self._lost = self._lost or renewal.is_lost
        self._cancel_reason = renewal.cancel_reason or self._cancel_reason

    def choose_progress(self) -> Progress:
        """The progress to store now; an empty one is not stored."""
        moment = time.monotonic()
        if self.claim.is_partial and moment - self._stored_progress_at < PART_PROGRESS_SECONDS:
            return Progress()
        self._stored_progress_at = moment
        return self.progress


def renew_leases(heartbeats: Sequence[Heartbeat]) -> None:
    """Renews all leases of a worker with one call; if Redis does not answer, the next beat tries again."""
    if not heartbeats:
        return
    try:
        renewals = heartbeats[0].claims.renew_all(
            [(heartbeat.claim, heartbeat.choose_progress()) for heartbeat in heartbeats]
        )
    except Problem as problem:
        log.warning("lease.unrenewed", leases=len(heartbeats), error=problem.detail)
        return
    for heartbeat, renewal in zip(heartbeats, renewals, strict=True):
        heartbeat.note(renewal)


class Renewed(Protocol):
    """What the thread renews besides leases: the lock of a release check.

    Attributes:
        checked_at: Time of the last sign that the work goes on, in seconds of the monotonic clock.
    """

    checked_at: float

    def beat(self) -> None:
        """Renews it."""


class HeartbeatThread:
    """A thread that renews the leases of all running attempts, and ends this process if no step ends in time.

    While it runs, and only then, the worker's liveness file is touched: the process ends before a probe finds that the
    file is old, or it is alive.
    """

    def __init__(self, step_seconds: float, liveness_dir: Path | None = None) -> None:
        """Creates the thread; `beating` starts it.

        Args:
            step_seconds: Longest time without activity. After it, the process ends.
            liveness_dir: Folder of the file that shows that this worker is alive; None if there is none.
        """
        self._step_seconds = step_seconds
        self._liveness_dir = liveness_dir
        self._heartbeats: list[Heartbeat | Renewed] = []
        self._stop = threading.Event()
        self._active_at = time.monotonic()

    def add(self, heartbeat: Heartbeat | Renewed) -> None:
        """Renews this lease from now on."""
        self._heartbeats = [*self._heartbeats, heartbeat]

    def remove(self, heartbeat: Heartbeat | Renewed) -> None:
        """Stops renewing this lease."""
        self._heartbeats = [other for other in self._heartbeats if other is not heartbeat]

    def show_activity(self) -> None:
        """Notes that the work goes on."""
        self._active_at = time.monotonic()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Runs the thread until the block ends."""
        self.show_activity()
        thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            last_activity = max((self._active_at, *(heartbeat.checked_at for heartbeat in self._heartbeats)))
            if time.monotonic() - last_activity > self._step_seconds:
                log.error("worker.hangs", seconds=self._step_seconds)
                # Nothing else ends a thread that does not return. The leases expire, and the shards are returned.
                os._exit(HUNG)
            touch_liveness_file(self._liveness_dir, "worker")
            self.renew()

    def renew(self) -> None:
        """Renews everything once."""
        renew_leases([heartbeat for heartbeat in self._heartbeats if isinstance(heartbeat, Heartbeat)])
        for heartbeat in self._heartbeats:
            if not isinstance(heartbeat, Heartbeat):
                heartbeat.beat()
