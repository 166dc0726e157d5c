"""Keeps a claim alive while a job runs, and brings back the news: cancelled, or lost."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from shared.errors import Problem, TimeLimitExceeded
from shared.jobs import Progress
from shared.records import Claim, ClaimLost, Records

BEAT_SECONDS = 0.5
"""A cancel is seen after this long plus one step; it is to be answered within two seconds."""

log = structlog.get_logger()


class Cancelled(Exception):
    """Somebody asked for the job to be cancelled."""


class Heartbeat:
    """A claim that is renewed from a thread of its own, because one step may take longer than a lease."""

    def __init__(self, records: Records, claim: Claim, *, lease_seconds: float, job_seconds: float) -> None:
        self._records = records
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._job_seconds = job_seconds
        self._started = self._renewed = time.monotonic()
        self._stop = threading.Event()
        self._cancelled = self._lost = False
        self._progress = Progress()

    @property
    def progress(self) -> Progress:
        """What was reported last."""
        return self._progress

    def report(self, progress: Progress) -> None:
        """Notes progress, and raises the news that there is.

        Raises:
            ClaimLost: The job is somebody else's now, or the lease could not be renewed in time.
            Cancelled: The job is to be cancelled.
            TimeLimitExceeded: It has run longer than a job may.
        """
        self._progress = progress
        if self._lost or time.monotonic() - self._renewed > self._lease_seconds:
            raise ClaimLost(self._claim.job_id)
        if self._cancelled:
            raise Cancelled
        if time.monotonic() - self._started > self._job_seconds:
            raise TimeLimitExceeded(
                f"the job ran for more than {self._job_seconds:.0f} s; ask for fewer steps or targets in one job"
            )

    def beat(self) -> None:
        """Renews the lease once, and again until stopped."""
        while not self._lost:
            asked = time.monotonic()
            try:
                self._cancelled = self._records.renew(self._claim, self._progress) or self._cancelled
                self._renewed = asked
            except ClaimLost:
                self._lost = True
            except Problem as problem:
                log.warning("lease.unrenewed", error=problem.detail)
            if self._stop.wait(BEAT_SECONDS):
                return

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def keep_alive(records: Records, claim: Claim, *, lease_seconds: float, job_seconds: float) -> Iterator[Heartbeat]:
    """Renews the claim until the block ends."""
    heartbeat = Heartbeat(records, claim, lease_seconds=lease_seconds, job_seconds=job_seconds)
    thread = threading.Thread(target=heartbeat.beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield heartbeat
    finally:
        heartbeat.stop()
        thread.join(timeout=10)
