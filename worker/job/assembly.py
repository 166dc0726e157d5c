"""The assembly of a job: reads the stored results of its shards, one after another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from archetype.contract.problem import ProblemDocument
from shared.errors import StoredProblem
from shared.storage.documents import ShardResult
from shared.storage.job_store import JobStore
from worker.output.artifacts import AttemptOutput

DescribeFailure = Callable[[int, ProblemDocument], dict[str, Any]]
"""Returns the metrics that stand for a failed shard, from its number and its problem."""


def split(items: Sequence[int], shards: Sequence[int]) -> list[Sequence[int]]:
    """Splits the items of a job into those of each shard, by the number of items that each shard has."""
    edges = [sum(shards[:number]) for number in range(len(shards) + 1)]
    return [items[start:end] for start, end in pairwise(edges)]


@dataclass(frozen=True)
class StoredParts:
    """The stored results of the shards of a job.

    Attributes:
        storage: The store.
        job_id: The job.
        shards: Number of shards.
        output: Gets the artifacts and warnings of the shards, and what they were made with.
        describe_failure: Describes a failed shard.
        check: Is called before each shard; raises an exception if the assembly must stop.
    """

    storage: JobStore
    job_id: str
    shards: int
    output: AttemptOutput
    describe_failure: DescribeFailure
    check: Callable[[], None]

    def read(self) -> Iterator[dict[str, Any]]:
        """Yields the metrics of all shards in their order; only those of one shard are in memory.

        Raises:
            StoredProblem: All shards have failed; it is the problem of the first one.
        """
        makers: list[dict[str, Any]] = []
        failed: list[tuple[int, ProblemDocument]] = []  # those before the first one that has not failed
        is_first = True
        for shard, result in self._load():
            add_maker(makers, result)
            if result.error is not None and is_first:
                failed.append((shard, result.error))
                continue
            if is_first:
                yield from (self.describe_failure(*failure) for failure in failed)
                is_first = False
            yield result.metrics if result.error is None else self.describe_failure(shard, result.error)
        if is_first and failed:
            raise StoredProblem(failed[0][1])
        self.output.provenance |= {"made_with": makers} if len(makers) > 1 else next(iter(makers), {})

    def _load(self) -> Iterator[tuple[int, ShardResult]]:
        keys = self.storage.find_shard_results(self.job_id)
        for shard in range(self.shards):
            self.check()
            key = keys.get(shard)
            result = None if key is None else self.storage.bucket.get_document(key, ShardResult)
            self.output.add(result := result or ShardResult())
            yield shard, result


def add_maker(makers: list[dict[str, Any]], result: ShardResult) -> None:
    """Adds the execution plan and the device of a shard, unless they are those of an earlier one."""
    maker = {name: result.provenance[name] for name in ("plan", "device")} if result.provenance else None
    if maker is not None and maker not in makers:
        makers.append(maker)
