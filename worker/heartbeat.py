"""Keeps claims alive while shares are worked on, and brings back the news: cancelled, lost, or out of time."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from shared.claims import Claim, ClaimLost, Claims
from shared.errors import Problem, TimeLimitExceeded
from shared.jobs import Progress
from shared.life import show_life

BEAT_SECONDS = 0.5
"""A cancel is seen after this long plus one step; it is to be answered within two seconds."""

HUNG = 70
"""Exit status of a worker that took no step for too long."""

log = structlog.get_logger()


class Cancelled(Exception):
    """The job is to be cancelled; its argument says why."""


class Heartbeat:
    """One claim, which is renewed from another thread, because one step may take longer than a lease.

    Attributes:
        progress: What was reported last.
        looked: When whoever works last asked for news, in seconds of a clock that nobody sets.
    """

    def __init__(self, claims: Claims, claim: Claim, *, lease_seconds: float, job_seconds: float) -> None:
        self._claims = claims
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._job_seconds = job_seconds
        self._started = self._renewed = self.looked = time.monotonic()
        self._why: str | None = None
        self._lost = False
        self.progress = Progress()

    def report(self, progress: Progress) -> None:
        """Notes progress, and raises the news that there is, as `check` does."""
        self.progress = progress
        self.check()

    def check(self) -> None:
        """Raises the news that there is.

        Raises:
            ClaimLost: The share is somebody else's now, or the lease could not be renewed in time.
            Cancelled: The job is to be cancelled.
            TimeLimitExceeded: The attempt has taken longer than one may.
        """
        self.looked = time.monotonic()
        if self._lost or self.looked - self._renewed > self._lease_seconds:
            raise ClaimLost(self._claim.ref)
        if self._why is not None:
            raise Cancelled(self._why)
        if self.looked - self._started > self._job_seconds:
            raise TimeLimitExceeded(
                f"the job ran for more than {self._job_seconds:.0f} s; ask for fewer steps or targets in one job"
            )

    @property
    def news(self) -> bool:
        """Whether `check` would raise."""
        try:
            self.check()
        except (ClaimLost, Cancelled, TimeLimitExceeded):
            return True
        return False

    def beat(self) -> None:
        """Renews the lease, if that can be done."""
        asked = time.monotonic()
        try:
            self._why = self._claims.renew(self._claim, self.progress) or self._why
            self._renewed = asked
        except ClaimLost:
            self._lost = True
        except Problem as problem:
            log.warning("lease.unrenewed", job_id=self._claim.job_id, error=problem.detail)


class Pulse:
    """Renews claims from a thread of its own, and ends this process if its work hangs.

    Args:
        life: Where to show that it does not.
    """

    def __init__(self, step_seconds: float, life: Path | None = None) -> None:
        self._step_seconds = step_seconds
        self._life = life
        self._heartbeats: list[Heartbeat] = []
        self._stop = threading.Event()
        self._sign = time.monotonic()

    def add(self, heartbeat: Heartbeat) -> None:
        self._heartbeats = [*self._heartbeats, heartbeat]

    def remove(self, heartbeat: Heartbeat) -> None:
        self._heartbeats = [other for other in self._heartbeats if other is not heartbeat]

    def sign(self) -> None:
        """Whoever works says so now and then."""
        self._sign = time.monotonic()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Until the block ends."""
        self.sign()
        thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            signs = (self._sign, *(heartbeat.looked for heartbeat in self._heartbeats))
            if time.monotonic() - max(signs) > self._step_seconds:
                log.error("worker.hangs", seconds=self._step_seconds)
                # Nothing else ends a thread that does not return; the leases run out, and the sweep acts.
                os._exit(HUNG)
            show_life(self._life, "worker")
            for heartbeat in self._heartbeats:
                heartbeat.beat()
