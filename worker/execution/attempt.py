"""One attempt at a shard: its claim, its running method, and the resources that it holds."""

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opentelemetry.trace import Span

from archetype.contract.job import now
from shared.queue.claims import Claim, ClaimLost
from worker.execution.heartbeat import Heartbeat
from worker.job.cobatch import BatchRequest, MethodRun
from worker.output.artifacts import AttemptOutput


@dataclass
class Attempt:
    """One attempt at a shard.

    `prepare` sets `run` and `span`, and `CheckpointWriter` sets `has_checkpoint`; all other fields change only here.

    Attributes:
        output: Artifacts, provenance and warnings so far.
        resources: Open networks and files; closed when the attempt ends.
        run: The running method; None before it is prepared.
        request: The batch request that the method waits for.
        span: The span of this attempt in the trace of the job.
        claimed_at: When the shard was claimed.
        first_step_at: When the first batch request was answered.
        has_checkpoint: Whether this attempt has stored a checkpoint.
        last_checkpoint: Time of the last try to store a checkpoint, in seconds of the monotonic clock.
    """

    claim: Claim
    heartbeat: Heartbeat
    output: AttemptOutput = field(default_factory=AttemptOutput)
    resources: ExitStack = field(default_factory=ExitStack)
    run: MethodRun | None = None
    request: BatchRequest | None = None
    span: Span | None = None
    claimed_at: datetime = field(default_factory=now)
    first_step_at: datetime | None = None
    has_checkpoint: bool = False
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
        if isinstance(event, BatchRequest):
            self.request = event
        progress = event.progress if isinstance(event, BatchRequest) else event
        self.heartbeat.report(progress or self.heartbeat.progress)
        return None

    def take_checkpoint(self) -> bytes | None:
        """Returns the bytes from which a later attempt can resume; None if the method cannot resume here."""
        self.last_checkpoint = time.monotonic()
        if self.request is None or self.request.checkpoint is None:
            return None
        return self.request.checkpoint()

    def close(self) -> None:
        """Closes the method, the resources and the span."""
        self.request = None
        if self.run is not None:
            with suppress(Exception):
                self.run.close()
        self.resources.close()
        if self.span is not None:
            self.span.end()
            self.span = None
