"""Runs a lane: claims shards while there is room, and advances all of them together, step by step."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import structlog

from shared.errors import Unavailable
from shared.queue.claim_pace import ClaimPace
from shared.queue.claims import TURN_SECONDS, Claim
from shared.queue.sharding import UNLIMITED_ROOM
from shared.state.metrics import MetricBuffer
from worker.execution.batch_step import BatchStep
from worker.execution.interruption import exit_if_broken
from worker.execution.lane import Lane
from worker.execution.prepare import prepare
from worker.execution.running_attempts import RunningAttempts
from worker.execution.worker_context import WorkerContext

MAX_STORING = 64
"""Results in memory that are not stored yet. With more, no shard is claimed until the store has caught up."""

FIRST_SECONDS = 0.5
"""How long a batch waits to be full for requests that are being read."""

log = structlog.get_logger()


def run_next_lane(worker_context: WorkerContext, wake_others: Callable[[], None] = lambda: None) -> bool:
    """Claims the next shard that waits, and runs its lane until no shard is left.

    Args:
        worker_context: The context of this process.
        wake_others: Called once the batch is full, because other workers can claim the shards that still wait.

    Returns:
        False if no shard waits, or Redis or the store did not answer.
    """
    claim = worker_context.claims.claim(worker_context.owner)
    if claim is None:
        return False
    with ExitStack() as resources:
        runner = LaneRunner(worker_context, resources)
        resources.enter_context(runner.running.heartbeats.beating())
        runner.start(claim)
        runner.prepare_first()  # it opens the network, which decides how many shards there is room for
        runner.claim_more()
        if not runner.running.interrupted:
            wake_others()
        runner.prepare_first()
        runner.run()
    exit_if_broken(worker_context.device)
    return not runner.running.interrupted


class LaneRunner:
    """The shards of one lane that this worker runs, from the first claim until none is left.

    Attributes:
        running: The attempts that run now.
    """

    def __init__(self, worker_context: WorkerContext, resources: ExitStack) -> None:
        """Creates a runner of a lane without shards.

        Args:
            worker_context: The context of this process.
            resources: Closes the network of the lane when the worker leaves the lane.
        """
        self.running = RunningAttempts(worker_context, self.start)
        self._worker_context = worker_context
        self._lane = Lane(
            worker_context.networks,
            worker_context.plans,
            worker_context.storage,
            resources,
            self.running.interruption.check_interrupted,
        )
        self._counts = MetricBuffer()
        self._step = BatchStep(worker_context, self._lane, self.running, self._counts)
        self._lane_name = ""
        self._counts_written = time.monotonic()
        self._closes_at = time.monotonic() + worker_context.settings.lane_seconds
        self._turn_ends_at = math.inf
        self._pace = ClaimPace(time.monotonic)

    def run(self) -> None:
        """Runs steps until no shard is left and none can be claimed, or until the worker must stop."""
        self._turn_ends_at = time.monotonic() + TURN_SECONDS  # the first batch is filled by now
        while True:
            if self._worker_context.stopping.is_set():
                self.running.give_all_back()
                return
            self.running.end_stored()
            self.claim_more()
            if not self.running.attempts and not self.running.storing:
                break
            self._prepare_read()
            if self._step.run():
                self.running.checkpoints.save_due(self.running.attempts)
            else:
                self.running.wait()
            self._write_counts_if_due()
        self._write_counts()
        self._lane.leave()

    def claim_more(self) -> None:
        """Claims shards of the lane while the batch has room, unless the lane must close or another tenant waits."""
        while self._is_open() and len(self.running.storing) < MAX_STORING:
            occupied = sum(attempt.size for attempt in self.running.attempts)
            room = self._lane.batch - occupied if occupied else UNLIMITED_ROOM
            if room <= 0 or not self._pace.is_due(room):
                return
            claim = self._claim(room)
            if claim is None:
                self._pace.note_refusal(room)
                return
            self._pace.note_claim()
            self.start(claim)

    def start(self, claim: Claim) -> None:
        """Starts an attempt at a shard, or at the assembly of a job."""
        self._lane_name = claim.lane
        attempt = self.running.open(claim)
        with self.running.working_on(attempt):
            log.info("job.claimed", shard=claim.shard)
            self.running.read(attempt)

    def prepare_first(self) -> None:
        """Prepares the first attempts of a batch together, unless reading their requests takes long."""
        self.running.wait_for_requests(FIRST_SECONDS)
        self._prepare_read()

    def _prepare_read(self) -> None:
        """Prepares the attempts whose requests have been read."""
        for attempt, read in self.running.list_read():
            with self.running.working_on(attempt):
                order = self.running.take_order(attempt, read)
                if order is not None:
                    prepare(self._worker_context, attempt, order, self._lane)

    def _claim(self, room: int) -> Claim | None:
        leaves = time.monotonic() > self._turn_ends_at
        with suppress(Unavailable):  # the running attempts go on
            return self._worker_context.claims.claim(
                self._worker_context.owner, lane=self._lane_name, room=room, leaves=leaves
            )
        return None

    def _is_open(self) -> bool:
        is_stopping = self._worker_context.stopping.is_set()
        must_close = time.monotonic() >= self._closes_at or self._lane.must_measure()
        return not must_close and not self.running.interrupted and not is_stopping

    def _write_counts_if_due(self) -> None:
        if time.monotonic() - self._counts_written > self._worker_context.settings.checkpoint_seconds:
            self._write_counts()

    def _write_counts(self) -> None:
        self._counts_written = time.monotonic()
        self._counts.flush(self._worker_context.redis_client)
