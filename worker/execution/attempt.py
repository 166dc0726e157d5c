"""One attempt at a shard: its claim, its running method, and the resources that it holds."""

import time
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opentelemetry.trace import Span

from archetype.contract.job import Progress, now
from shared.queue.claims import Claim, ClaimLost
from worker.execution.heartbeat import Heartbeat
from worker.job.cobatch import BatchRequest, MethodRun, SavePoint
from worker.output.artifacts import AttemptOutput

SAVE_POINT_SECONDS = 5.0
"""Longest time between two checkpoints at save points, where only finished pairs are saved: they are small."""


@dataclass
class Attempt:
    """One attempt at a shard.

    `RunningAttempts` sets `reading`, `prepare` sets `run` and `span`, and `CheckpointWriter` sets `saving`; all other
    fields change only here.

    Attributes:
        output: Artifacts, provenance and warnings so far.
        resources: Open networks and files; closed when the attempt ends.
        reading: Reads the request in another thread; None once it has been read.
        run: The running method; None before it is prepared.
        request: The batch request that the method waits for.
        saves_at: The last event of the method from which it can be saved; it can be saved until the next one.
        span: The span of this attempt in the trace of the job.
        claimed_at: When the shard was claimed.
        first_step_at: When the first batch request was answered.
        saving: Stores the last checkpoint; None if this attempt has taken none.
        last_checkpoint: Time at which the last checkpoint was taken, in seconds of the monotonic clock.
    """

    claim: Claim
    heartbeat: Heartbeat
    output: AttemptOutput = field(default_factory=AttemptOutput)
    resources: ExitStack = field(default_factory=ExitStack)
    reading: "Future[Any] | None" = None
    run: MethodRun | None = None
    request: BatchRequest | None = None
    saves_at: BatchRequest | SavePoint | None = None
    span: Span | None = None
    claimed_at: datetime = field(default_factory=now)
    first_step_at: datetime | None = None
    saving: "Future[None] | None" = None
    last_checkpoint: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Number of places that it takes in a batch."""
        return self.claim.size

    @property
    def is_partial(self) -> bool:
        """Whether its result is only a part of the job's: one shard of several."""
        return self.claim.shards > 1 and not self.claim.is_assembly

    def advance(self, result: object) -> dict[str, Any] | None:
        """Sends the result of its request to the method, which runs until it yields or returns.

        Returns:
            The metrics of the shard if the method has returned, else None.

        Raises:
            ClaimLost: The shard belongs to another worker, or the method was never prepared.
            Cancelled: The job was cancelled.
            TimeLimitExceeded: The attempt has run for too long.
        """
        if self.request is not None and self.first_step_at is None:
            self.first_step_at = now()
        self.request = None
        self.heartbeat.check()
        if self.run is None:
            raise ClaimLost(self.claim.ref)
        try:
            event = self.run.send(result)
        except StopIteration as stop:
            return dict(stop.value)
        self.request = event if isinstance(event, BatchRequest) else None
        if not isinstance(event, Progress) and event.checkpoint is not None:
            self.saves_at = event
        progress = event if isinstance(event, Progress) else event.progress
        self.heartbeat.report(progress or self.heartbeat.progress)
        return None

    def is_due(self, seconds: float) -> bool:
        """Whether the method can be saved, and the last checkpoint is stored and older than `seconds`."""
        if self.saving is not None and not self.saving.done():
            return False
        limit = min(seconds, SAVE_POINT_SECONDS) if isinstance(self.saves_at, SavePoint) else seconds
        return self.saves_at is not None and time.monotonic() - self.last_checkpoint > limit

    def take_checkpoint(self) -> bytes | None:
        """Returns the bytes from which a later attempt can resume; None if the method cannot resume yet."""
        self.last_checkpoint = time.monotonic()
        checkpoint = None if self.saves_at is None else self.saves_at.checkpoint
        return None if checkpoint is None else checkpoint()

    def close(self) -> None:
        """Closes the method, the resources and the span, when no other thread uses them any more."""
        if self.reading is not None:
            with suppress(Exception):
                self.reading.result()
        self.request = self.saves_at = None
        if self.run is not None:
            with suppress(Exception):
                self.run.close()
        self.resources.close()
        if self.span is not None:
            self.span.end()
            self.span = None
