"""The attempts that run in a lane now, and how each of them ends: completed, failed, cancelled or given back."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar

import structlog

from shared.errors import ObjectRefused, OutOfMemory, Problem, TimeLimitExceeded, Unavailable, UnsupportedFormat
from shared.lifecycle.finish import explain_refusal
from shared.process.tracing import use_span
from shared.queue.claims import Claim, ClaimLost
from worker.execution.attempt import Attempt
from worker.execution.checkpointing import CheckpointWriter
from worker.execution.complete import Ended, cancel, complete_again, fail, succeed
from worker.execution.failure import explain_failure
from worker.execution.heartbeat import Cancelled, Heartbeat, HeartbeatThread
from worker.execution.interruption import Interrupted, InterruptionCheck, exit_if_broken
from worker.execution.prepare import Order, read_order
from worker.execution.worker_context import WorkerContext

T = TypeVar("T")

log = structlog.get_logger()


class RunningAttempts:
    """The attempts that run now. Every exception in one of them becomes its end; the others go on.

    Requests are read and results are stored in other threads, so that the GPU does not wait for the store.

    Attributes:
        attempts: Those that have places in the batch, in the order in which they were claimed.
        storing: Those whose methods have returned, with the end of storing the result, the oldest first.
        interrupted: Whether Redis or the store did not answer.
        heartbeats: Renews the leases of all attempts.
        interruption: Checks before every forward pass whether the attempts may go on.
        checkpoints: Stores checkpoints of attempts.
    """

    def __init__(self, worker_context: WorkerContext, start: Callable[[Claim], None]) -> None:
        """Creates an empty collection.

        Args:
            worker_context: The context of this process.
            start: Starts an attempt. Is called with the claim to assemble a job when its last shard has ended.
        """
        settings = worker_context.settings
        self.attempts: list[Attempt] = []
        self.storing: list[tuple[Attempt, Future[Claim | None]]] = []
        self.interrupted = False
        self.heartbeats = HeartbeatThread(settings.step_seconds, settings.liveness_dir)
        self.interruption = InterruptionCheck(self.heartbeats, worker_context.stopping)
        self.checkpoints = CheckpointWriter(
            worker_context.storage, worker_context.background, self.heartbeats, settings.checkpoint_seconds
        )
        self._worker_context = worker_context
        self._start = start

    def open(self, claim: Claim) -> Attempt:
        """Adds an attempt, and renews its lease from now on."""
        job_seconds = self._worker_context.settings.job_seconds
        heartbeat = Heartbeat(self._worker_context.claims, claim, job_seconds=job_seconds)
        self.heartbeats.add(heartbeat)
        self.attempts.append(attempt := Attempt(claim, heartbeat))
        return attempt

    @contextmanager
    def working_on(self, attempt: Attempt) -> Iterator[None]:
        """Runs a block of work for one attempt, with its log fields and its span; an exception ends the attempt."""
        fields = {"job_id": attempt.claim.job_id, "attempt": attempt.claim.attempt}
        with (
            self.interruption.watching([attempt]),
            structlog.contextvars.bound_contextvars(**fields),
            use_span(attempt.span),
        ):
            try:
                yield
            except Exception as error:
                self._end_on_error(attempt, error)

    def read(self, attempt: Attempt) -> None:
        """Begins to read the request of an attempt."""
        attempt.reading = self._submit(self._read, attempt)

    def _read(self, attempt: Attempt) -> Order | Ended:
        claim = attempt.claim
        if claim.is_assembly or claim.resumes:  # the job may have been cancelled since it was claimed first
            cancel_reason = self._worker_context.claims.renew(claim, attempt.heartbeat.progress)
            if cancel_reason is not None:
                raise Cancelled(cancel_reason)
        ended = complete_again(self._worker_context, attempt) if claim.resumes else None
        return ended or read_order(self._worker_context, attempt)

    def list_read(self) -> "list[tuple[Attempt, Future[Order | Ended]]]":
        """The attempts whose requests have been read, with what was read."""
        pairs = [(attempt, attempt.reading) for attempt in self.attempts]
        return [(attempt, reading) for attempt, reading in pairs if reading is not None and reading.done()]

    def take_order(self, attempt: Attempt, read: "Future[Order | Ended]") -> Order | None:
        """What was read of an attempt; None if the attempt ends, because an earlier one has stored the result.

        Raises:
            Problem: The job cannot run.
        """
        order = read.result()
        attempt.reading = None
        if isinstance(order, Ended):
            self._end(attempt, order.assembly)
            return None
        return order

    def store(self, attempt: Attempt, metrics: dict[str, Any]) -> None:
        """Begins to store the result of an attempt whose method has returned."""
        self.attempts = [other for other in self.attempts if other is not attempt]
        self.storing.append((attempt, self._submit(succeed, self._worker_context, attempt, metrics)))

    def end_stored(self, *, wait: bool = False) -> None:
        """Ends the attempts whose results are stored.

        Args:
            wait: Whether to wait for the results that are being stored.
        """
        for attempt, stored in list(self.storing):
            if wait or stored.done():
                with self.working_on(attempt):
                    self._end(attempt, stored.result())

    def wait_for_requests(self, seconds: float) -> None:
        """Waits until all requests have been read, or for some seconds."""
        end = time.monotonic() + seconds
        for attempt in self.attempts:
            if attempt.reading is not None:
                with suppress(Exception):  # it is raised again where the request is used
                    attempt.reading.result(max(0, end - time.monotonic()))

    def wait(self) -> None:
        """Waits until a request has been read, or a result has been stored."""
        reading = [attempt.reading for attempt in self.attempts if attempt.reading is not None]
        for future in [*reading, *(stored for _, stored in self.storing)][:1]:
            with suppress(Exception):  # it is raised again where the result is used
                future.result()

    def _submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Calls a function in another thread, with the log fields and the span of this one."""
        return self._worker_context.background.submit(copy_context().run, function, *arguments)

    def end_interrupted(self) -> None:
        """Ends every attempt that was cancelled or lost, or has run for too long; the others keep their requests."""
        for attempt in [each for each in self.attempts if each.reading is None and each.heartbeat.must_end]:
            with self.working_on(attempt):
                attempt.heartbeat.check()

    def give_all_back(self) -> None:
        """Returns every shard to the queue, with a checkpoint, because the worker must stop."""
        self.end_stored(wait=True)
        for attempt in list(self.attempts):
            with self.working_on(attempt):
                self.checkpoints.save(attempt)
                self._give_back(attempt, counts=False)
                log.info("job.given_back")

    def _end_on_error(self, attempt: Attempt, error: Exception) -> None:
        """Ends an attempt after an exception; if Redis or the store does not answer, the recovery ends it later."""
        try:
            self._handle(attempt, error)
        except (ClaimLost, Unavailable) as problem:
            log.warning("job.lost", error=str(problem))
            self.interrupted = self.interrupted or isinstance(problem, Unavailable)
            with suppress(ClaimLost, Unavailable):
                self._give_back(attempt, counts=False, waits=True)
            self._close(attempt)

    def _handle(self, attempt: Attempt, error: Exception) -> None:
        match error:
            case Interrupted():
                self._give_back(attempt, counts=False)
            case ClaimLost():
                log.warning("job.lost")
                self._close(attempt)
            case UnsupportedFormat():  # it waits for a newer worker, and this worker goes on with other jobs
                log.warning("job.newer", error=error.detail)
                self._give_back(attempt, counts=False, unread=True)
            case ObjectRefused():  # it counts: the store may accept the object later, but not for ever
                log.warning("job.refused", error=error.detail)
                self._fail_or_wait(attempt, error)
            case Unavailable():  # not the fault of the job: the attempt does not count
                log.warning("job.interrupted", error=error.detail)
                self.interrupted = True
                self._give_back(attempt, counts=False, waits=True)
            case Cancelled():
                self._end(attempt, cancel(self._worker_context, attempt, str(error)))
            case _:
                exit_if_broken(self._worker_context.device)
                self._fail_or_retry(attempt, explain_failure(error))

    def _fail_or_retry(self, attempt: Attempt, problem: Problem) -> None:
        """Fails an attempt; but one that shared the time limit or the memory with other jobs is tried again."""
        if isinstance(problem, TimeLimitExceeded) and len(self.attempts) > 1:
            log.warning("job.retried_alone")
            self.checkpoints.save(attempt)
            self._give_back(attempt, counts=False, alone=True)
        elif isinstance(problem, OutOfMemory) and attempt.claim.attempt < self._max_attempts:
            log.warning("job.out_of_memory")
            self._give_back(attempt, counts=True)
        else:
            self._end(attempt, fail(self._worker_context, attempt, problem))

    def _fail_or_wait(self, attempt: Attempt, problem: ObjectRefused) -> None:
        if attempt.claim.attempt < self._max_attempts:
            self._give_back(attempt, counts=True, waits=True)
        else:
            self._end(attempt, fail(self._worker_context, attempt, explain_refusal(problem.detail)))

    def _end(self, attempt: Attempt, assembly: Claim | None) -> None:
        """Closes an attempt that has ended; if it was the last shard of its job, starts to assemble the job."""
        self._close(attempt)
        if assembly is not None:
            self._start(assembly)

    def _give_back(
        self, attempt: Attempt, *, counts: bool, alone: bool = False, waits: bool = False, unread: bool = False
    ) -> None:
        self._worker_context.claims.give_back(
            attempt.claim, counts=counts, max_attempts=self._max_attempts, alone=alone, waits=waits, unread=unread
        )
        self._close(attempt)

    def _close(self, attempt: Attempt) -> None:
        self.attempts = [other for other in self.attempts if other is not attempt]
        self.storing = [pair for pair in self.storing if pair[0] is not attempt]
        self.heartbeats.remove(attempt.heartbeat)
        attempt.close()

    @property
    def _max_attempts(self) -> int:
        return self._worker_context.settings.max_attempts
