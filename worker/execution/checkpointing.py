"""Stores checkpoints of running attempts, from which later attempts resume."""

from collections.abc import Iterable
from concurrent.futures import Executor

import structlog

from shared.errors import Unavailable
from shared.queue.claims import Claim
from shared.storage.job_store import JobStore
from worker.execution.attempt import Attempt
from worker.execution.heartbeat import HeartbeatThread

log = structlog.get_logger()


class CheckpointWriter:
    """Takes checkpoints, and stores them in other threads."""

    def __init__(self, storage: JobStore, background: Executor, heartbeats: HeartbeatThread, seconds: float) -> None:
        """Creates a writer.

        Args:
            storage: Where checkpoints are stored.
            background: The threads.
            heartbeats: Is shown activity, because a checkpoint may take a while.
            seconds: Longest time between two checkpoints of an attempt.
        """
        self._storage = storage
        self._background = background
        self._heartbeats = heartbeats
        self._seconds = seconds

    def save_due(self, attempts: Iterable[Attempt]) -> None:
        """Takes a checkpoint of every attempt whose last one is old enough, and begins to store it."""
        for attempt in [attempt for attempt in attempts if attempt.is_due(self._seconds)]:
            self._begin(attempt)

    def save(self, attempt: Attempt) -> None:
        """Stores a checkpoint now, if the method can make one; if that fails, an earlier one may be stored."""
        self._begin(attempt)
        if attempt.saving is not None:
            attempt.saving.result()

    def _begin(self, attempt: Attempt) -> None:
        self._heartbeats.show_activity()
        try:
            data = attempt.take_checkpoint()
        except Exception as error:  # the attempt itself is not affected
            _log_failure(attempt.claim, error)
        else:
            if data is not None:
                attempt.saving = self._background.submit(self._store, attempt.claim, data)

    def _store(self, claim: Claim, data: bytes) -> None:
        try:
            self._storage.save_checkpoint(claim.job_id, claim.shard, claim.fence, data)
        except Exception as error:
            _log_failure(claim, error)


def _log_failure(claim: Claim, error: Exception) -> None:
    if isinstance(error, Unavailable):
        log.warning("checkpoint.unsaved", job_id=claim.job_id, error=error.detail)
    else:
        log.error("checkpoint.failed", job_id=claim.job_id, exc_info=error)
