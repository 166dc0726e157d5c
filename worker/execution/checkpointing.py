"""Stores checkpoints of running attempts, from which later attempts resume."""

from collections.abc import Iterable

import structlog

from shared.errors import Unavailable
from shared.storage.job_store import JobStore
from worker.execution.attempt import Attempt
from worker.execution.heartbeat import HeartbeatThread

log = structlog.get_logger()


class CheckpointWriter:
    """Stores checkpoints."""

    def __init__(self, storage: JobStore, heartbeats: HeartbeatThread, seconds: float) -> None:
        """Creates a writer.

        Args:
            storage: Where checkpoints are stored.
            heartbeats: Is shown activity, because a checkpoint may take a while.
            seconds: Longest time between two checkpoints of an attempt.
        """
        self._storage = storage
        self._heartbeats = heartbeats
        self._seconds = seconds

    def save_due(self, attempts: Iterable[Attempt]) -> None:
        """Stores a checkpoint of every attempt whose last one is old enough."""
        due = [attempt for attempt in attempts if attempt.is_due(self._seconds)]
        for attempt in due:
            self.save(attempt)

    def save(self, attempt: Attempt) -> None:
        """Stores a checkpoint, if the method can make one; if that fails, the attempt goes on without it."""
        self._heartbeats.show_activity()
        claim = attempt.claim
        try:
            data = attempt.take_checkpoint()
            if data is not None:
                self._storage.save_checkpoint(claim.job_id, claim.shard, claim.fence, data)
                attempt.has_checkpoint = True
        except Unavailable as problem:
            log.warning("checkpoint.unsaved", job_id=claim.job_id, error=problem.detail)
        except Exception:  # the attempt itself is not affected
            log.exception("checkpoint.failed", job_id=claim.job_id)
