"""One step of a lane: every method runs to its next batch request, and the requests run as one batch per executor."""

from collections.abc import Sequence

from shared.state.metrics import MetricBuffer
from worker.execution.attempt import Attempt
from worker.execution.interruption import Interrupted, exit_if_broken
from worker.execution.lane import Lane
from worker.execution.running_attempts import RunningAttempts
from worker.execution.worker_context import WorkerContext
from worker.job.cobatch import BatchExecutor, BatchRequest

Waiting = Sequence[tuple[Attempt, BatchRequest]]
"""Attempts with the requests that they wait for."""


class BatchStep:
    """Runs steps, and counts batches and targets for the metrics of the service."""

    def __init__(
        self, worker_context: WorkerContext, lane: Lane, running: RunningAttempts, counts: MetricBuffer
    ) -> None:
        self._worker_context = worker_context
        self._lane = lane
        self._running = running
        self._counts = counts

    def run(self) -> bool:
        """Advances every method to its next batch request, runs the batches, and sends the results back.

        Returns:
            False if no method is prepared.
        """
        prepared = [attempt for attempt in self._running.attempts if attempt.reading is None]
        for attempt in prepared:
            if attempt.request is None:
                self._advance(attempt, None)
        waiting = [(attempt, attempt.request) for attempt in self._running.attempts if attempt.request is not None]
        executors = {id(request.executor): request.executor for _, request in waiting}
        for executor in executors.values():
            self._compute(executor, [pair for pair in waiting if pair[1].executor is executor])
        return bool(prepared)

    def _advance(self, attempt: Attempt, result: object) -> None:
        """Sends a result to the method of an attempt, until it yields, returns or raises."""
        with self._running.working_on(attempt):
            metrics = attempt.advance(result)
            if metrics is not None:
                self._count_targets(attempt)
                self._running.store(attempt, metrics)

    def _compute(self, executor: BatchExecutor, waiting: Waiting) -> None:
        """Computes all requests in one batch; if that fails, each alone, so that only the faulty job fails."""
        try:
            with self._running.interruption.watching([attempt for attempt, _ in waiting]):
                results = executor.compute([request.payload for _, request in waiting])
        except Interrupted:
            self._running.end_interrupted()
            return
        except Exception:  # the cause is found when the request of each job is computed alone
            exit_if_broken(self._worker_context.device)
            for attempt, request in waiting:
                self._compute_alone(executor, attempt, request)
            return
        self._count_batch(waiting)
        for (attempt, _), result in zip(waiting, results, strict=True):
            self._advance(attempt, result)

    def _compute_alone(self, executor: BatchExecutor, attempt: Attempt, request: BatchRequest) -> None:
        result = None
        with self._running.working_on(attempt):
            (result,) = executor.compute([request.payload])
        if result is not None and attempt in self._running.attempts:
            self._advance(attempt, result)

    def _count_targets(self, attempt: Attempt) -> None:
        model, _, rest = attempt.claim.lane.partition("/")
        if not attempt.claim.is_assembly:
            self._counts.add("archetype_targets", rest.partition("/")[0], model, by=attempt.size)

    def _count_batch(self, waiting: Waiting) -> None:
        model, slots = waiting[0][0].claim.lane.partition("/")[0], sum(attempt.size for attempt, _ in waiting)
        self._counts.add("archetype_batches", model)
        self._counts.add("archetype_batch_slots", model, by=min(slots, self._lane.batch))
        self._counts.add("archetype_batch_places", model, by=self._lane.batch)
