"""Co-batching: methods yield batch requests, and the requests of several jobs are computed as one batch."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from archetype.contract.job import Progress


class BatchExecutor(Protocol):
    """Computes the requests of several jobs in one batch."""

    def compute(self, payloads: Sequence[Any], /) -> list[Any]:
        """Computes one result for each payload, in the same order.

        If this raises an exception, it has no side effects, and the caller may retry some of the payloads.
        """


@dataclass(frozen=True)
class BatchRequest:
    """A request that a method yields; the method is sent the result, or it is closed while it waits.

    Attributes:
        executor: Computes the request, together with the requests of other jobs that name the same executor.
        payload: The input of the executor.
        progress: Progress of the method; None if it has not changed.
        checkpoint: Returns the bytes from which a later attempt can resume; None if an earlier event has it, or if the
            method cannot resume.
    """

    executor: BatchExecutor
    payload: Any
    progress: Progress | None = None
    checkpoint: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class SavePoint:
    """A moment between two steps from which a method can be saved, until it yields another checkpoint.

    Attributes:
        progress: Progress of the method.
        checkpoint: Returns the bytes from which a later attempt can resume.
    """

    progress: Progress
    checkpoint: Callable[[], bytes]


MethodEvent = Progress | SavePoint | BatchRequest
"""What a method yields: its progress between steps, where it can be stopped, or a batch request."""

MethodRun = Generator[MethodEvent, Any, dict[str, Any]]
"""A running method. It returns the metrics of its shard."""


T = TypeVar("T")


def run_alone(
    run: Generator[MethodEvent, Any, T] | Generator[Progress | BatchRequest, Any, T] | Generator[BatchRequest, Any, T],
    report: Callable[[Progress], None] = lambda _: None,
) -> T:
    """Runs a generator to its end, computes each of its batch requests alone, and returns its return value.

    Args:
        run: A running method, or a part of one.
        report: Receives the progress of the generator.
    """
    result = None
    while True:
        try:
            event = run.send(result)
        except StopIteration as stop:
            return cast("T", stop.value)
        progress = event if isinstance(event, Progress) else event.progress
        if progress is not None:
            report(progress)
        result = event.executor.compute([event.payload])[0] if isinstance(event, BatchRequest) else None
