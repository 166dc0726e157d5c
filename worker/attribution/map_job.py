"""The loop of the methods that compute a saliency map of each pair of image and target."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from archetype.contract.parameters.saliency import KINDS_WITHOUT_GRADIENT
from shared.errors import NotFinite
from worker.attribution.evidence import MapEvidence, choose_reading
from worker.attribution.faithfulness import MapSummary, Measured, build_metrics
from worker.attribution.saliency_maps import MapReader, choose_preprocessing, find_rule
from worker.engine.attribution.guided_backprop import count_activations
from worker.engine.gradients.relu import ActivationCounts
from worker.inputs.pairs import Pair, Pairs
from worker.inputs.view import open_view
from worker.job.cobatch import MethodEvent, SavePoint
from worker.job.context import JobContext
from worker.output.job_results import JobResults, Part, finish
from worker.output.pair_results import PairResults

SavePair = Callable[[Pair, MapEvidence], dict[str, Any]]
"""Saves the files of a pair and its map, and returns the metrics of the pair."""

CheckBatch = Callable[[Sequence[Pair], Tensor], None]
"""Examines a batch of pairs and their maps (N, h, w)."""


class MapJob:
    """A shard of a job that computes a saliency map of each pair.

    Attributes:
        results: The results of its pairs.
    """

    def __init__(self, context: JobContext[Any], unit: str) -> None:
        """Prepares the maps; the parameters of the job are `SaliencyParameters`.

        Args:
            context: The shard.
            unit: Unit of the progress.

        Raises:
            InvalidRequest: There are more pairs than one job may have.
            ValueError: The network lacks what the kind of map needs.
        """
        params = context.request.params
        preprocessing = choose_preprocessing(context.release.preprocessing, params)
        pairs = Pairs(context, partial(open_view, preprocessing=preprocessing))
        self.results = PairResults(context, pairs, unit)
        self._context = context
        self._reader = MapReader(context, self.results.reader)
        self._reading = choose_reading(params)
        self._map_metrics = build_metrics(context.classifier, params, context.batch)
        if context.place.number == 0 and not self.results.is_resumed:
            warn_of_rule(context)

    def run(
        self, save_pair: SavePair, check_batch: CheckBatch = lambda _pairs, _maps: None
    ) -> Generator[MethodEvent, Any, None]:
        """Computes, measures and saves the maps of all pairs, batch after batch."""
        yield self.results.progress
        while batch := (yield from self._reader.next()):
            yield from self._save_batch(*batch, save_pair, check_batch)

    def _save_batch(
        self, pairs: Sequence[Pair], maps: Tensor, save_pair: SavePair, check_batch: CheckBatch
    ) -> Iterator[SavePoint]:
        """Saves the pairs whose map is finite, with its evidence and metrics; the others fail."""
        finite = maps.flatten(1).isfinite().all(1).tolist()
        kept = [row for row, is_finite in enumerate(finite) if is_finite]
        measured = iter(self._measure([pairs[row] for row in kept], maps[kept], check_batch))
        for pair, is_finite in zip(pairs, finite, strict=True):
            if not is_finite:
                target = self._context.target(pair.target).model_dump()
                yield self.results.fail(pair, self._explain_map(pair), target=target)
                continue
            evidence, found = next(measured)
            if evidence.is_empty:
                self._context.output.warn(f"{self._name(pair)} is empty: {evidence.explain_empty()}")
            metrics = save_pair(pair, evidence) | evidence.describe() | found.measures
            yield self.results.add(metrics, found._asdict() if found.measures else {})

    def _measure(
        self, pairs: Sequence[Pair], maps: Tensor, check_batch: CheckBatch
    ) -> list[tuple[MapEvidence, Measured]]:
        if not pairs:
            return []
        check_batch(pairs, maps)
        evidence = [MapEvidence.of(values, self._reading) for values in maps.numpy()]
        return list(zip(evidence, self._map_metrics.measure(pairs, evidence), strict=True))

    def _explain_map(self, pair: Pair) -> NotFinite:
        kind = self._context.request.params.kind
        return NotFinite(
            f"{self._name(pair)} has values that are NaN or infinite: the network has no finite "
            f"{'score of a covered image' if kind in KINDS_WITHOUT_GRADIENT else 'gradient'} there"
        )

    def _name(self, pair: Pair) -> str:
        kind, target = self._context.request.params.kind, self._context.target(pair.target)
        return f"the {kind} map of class {target.name} for picture {pair.name}"


def gather_maps(
    context: JobContext[Any], parts: Iterable[Part], describe: Callable[[JobResults], dict[str, Any]]
) -> dict[str, Any]:
    """Combines the results of all shards: saves the files of the whole job and returns its metrics.

    Args:
        context: The job.
        parts: The results of the shards.
        describe: Returns the metrics of the method.

    Raises:
        Problem: As `finish`.
    """
    results, summary = JobResults(), MapSummary()
    for part in parts:
        for _, extra in results.add(part):
            if extra:
                summary.add(extra["measures"], extra["traces"])
    summary.save(context)
    metrics = {"pairs": results.pairs, **describe_rule(context), **describe(results), **summary.describe()}
    return finish(context, results, metrics)


def count_rule(context: JobContext[Any]) -> tuple[str, ActivationCounts] | None:
    """The rule of the maps and the activations that have it; None if the maps have no rule."""
    rule, classifier = find_rule(context.request.params), context.classifier
    return None if rule is None else (rule, context.executor("activations", lambda: count_activations(classifier)))


def warn_of_rule(context: JobContext[Any]) -> None:
    """Warns if some activations do not have the rule of the maps."""
    if (counted := count_rule(context)) is None or not counted[1].without_rule:
        return
    rule, counts = counted
    names = ", ".join(f"{count} x {name}" for name, count in counts.without_rule.most_common())
    context.output.warn(
        f"only {counts.with_rule} of {counts.total} activations of the network are ReLUs and have the rule of "
        f"{rule}; the others have their own gradient: {names}"
    )


def describe_rule(context: JobContext[Any]) -> dict[str, Any]:
    """How many activations have the rule of the maps, for the job's metrics; empty if the maps have no rule."""
    if (counted := count_rule(context)) is None:
        return {}
    rule, counts = counted
    fields = {"rule": rule, "with_rule": counts.with_rule, "without_rule": counts.total - counts.with_rule}
    return {"activations": fields | {"others": dict(counts.without_rule.most_common())}}
