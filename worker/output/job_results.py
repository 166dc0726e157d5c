"""The results of a job over images, from those of its shards, and the end of such a job."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

from archetype.contract.problem import ProblemDocument
from archetype.contract.strict_json import dump_json, replace_non_finite
from shared.errors import DeadTarget, InvalidRequest, NotFinite, Problem, StoredProblem
from worker.job.context import JobContext
from worker.optimization.optimize import NOT_FINITE
from worker.output.contact_sheet import JobSheet
from worker.output.pair_results import PackedResults

Part = Mapping[str, Any]
"""The results of a shard, as `pack_results` returns them."""


@dataclass
class JobResults:
    """The results of the shards so far. An image that an earlier shard has under another name counts once.

    Attributes:
        pairs: Metrics of all pairs, in their order.
        failed: Images and pairs without a result.
        repeated: By name, the first name of the same image.
        notes: The notes of each shard.
        sheet: The contact sheet.
        images: Number of images.
    """

    pairs: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    repeated: dict[str, str] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    sheet: JobSheet = field(default_factory=JobSheet)
    images: int = 0
    _first: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Self:
        """Combines the results of all shards."""
        results = cls()
        for part in parts:
            for _ in results.add(part):
                pass
        return results

    def add(self, part: Part) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Adds the results of the next shard; yields the metrics of its pairs, each with its extra."""
        results = cast("PackedResults", part)
        again = {image for image, name in results["first"].items() if self._first.get(image, name) != name}
        self._add_names(results, again)
        self._add_failures(results, {results["first"][image] for image in again})
        self.images += results["images"]
        self.notes.append(results["notes"])
        for image, row in results["rows"].items():
            if image not in again:
                self.sheet.add(image, row)
        for metrics, extra in zip(results["pairs"], results["extras"], strict=True):
            if metrics["image"] not in again:
                self.pairs.append(metrics)
                yield metrics, extra

    def _add_names(self, results: PackedResults, again: set[str]) -> None:
        now_first = {results["first"][image]: self._first[image] for image in again}
        self.repeated |= now_first
        self.repeated |= {name: now_first.get(first, first) for name, first in results["repeated"].items()}
        self._first = results["first"] | self._first

    def _add_failures(self, results: PackedResults, again: set[str]) -> None:
        for failure in results["failed"]:
            # Several shards of one image may not be able to read it.
            is_known = failure in self.failed[-1:]
            if failure["image"] not in again and not is_known:
                self.failed.append(failure)


def describe_failed_images(context: JobContext[Any], problem: ProblemDocument) -> dict[str, Any]:
    """The results of a shard that failed: the problem, for each of its images."""
    error, entries = problem.model_dump(mode="json"), context.images.entries
    failed = [{"image": entry.name, "error": error} for entry in entries]
    return dict(
        PackedResults(images=len(entries), pairs=[], extras=[], failed=failed, first={}, repeated={}, rows={}, notes={})
    )


def explain_empty_result(results: JobResults, metrics: Mapping[str, Any]) -> Problem:
    """The reason why a job has no result."""
    if results.failed:
        return StoredProblem(ProblemDocument.model_validate(results.failed[0]["error"]))
    if not results.images:
        return InvalidRequest("there are no images in that place; name one that has some")
    if ended_not_finite(metrics):
        return NotFinite(f"no image has a result: {NOT_FINITE}")
    return DeadTarget("nothing has a gradient at these images; try another layer, target, noise or learning_rate")


def ended_not_finite(metrics: Any) -> bool:
    """Whether an ascent of these metrics ended because its values were not finite."""
    if isinstance(metrics, Mapping):
        return metrics.get("stopped") == "not_finite" or any(map(ended_not_finite, metrics.values()))
    return isinstance(metrics, list) and any(map(ended_not_finite, metrics))


def finish(context: JobContext[Any], results: JobResults, metrics: dict[str, Any]) -> dict[str, Any]:
    """Saves the files of the whole job, and adds the images and pairs that failed to its metrics.

    Raises:
        Problem: There is no result: no image could be read, there are no images, or none gave anything.
    """
    if not results.sheet.rows:
        raise explain_empty_result(results, metrics)
    if results.failed:
        metrics["failed"] = results.failed
    if results.repeated:
        metrics["repeated"] = results.repeated
    results.sheet.save(context)
    metrics = replace_non_finite(metrics)
    context.save("metrics.json", dump_json(metrics, indent=1).encode())
    return metrics
