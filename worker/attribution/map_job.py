"""The loop of the methods that compute a saliency map of each pair of image and target."""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from archetype.contract.job import Progress
from shared.errors import NotFinite
from worker.attribution.evidence import MapEvidence, has_sign
from worker.attribution.faithfulness import build_metrics
from worker.attribution.saliency_maps import MapReader, choose_preprocessing, find_rule
from worker.engine.attribution.guided_backprop import count_activations
from worker.engine.gradients.relu import ActivationCounts
from worker.inputs.pairs import Pair, Pairs
from worker.inputs.view import open_view
from worker.job.cobatch import BatchRequest
from worker.job.context import JobContext
from worker.output.contact_sheet import Sheet, finish

SavePair = Callable[[Pair, MapEvidence], dict[str, Any]]
"""Saves the files of a pair and its map, and returns the metrics of the pair."""

CheckBatch = Callable[[Sequence[Pair], Tensor], None]
"""Examines a batch of pairs and their maps (N, h, w)."""


class MapJob:
    """A job that computes a saliency map of each pair.

    Attributes:
        sheet: Its contact sheet.
    """

    def __init__(self, context: JobContext[Any]) -> None:
        """Prepares the maps; the parameters of the job are `SaliencyParameters`.

        Raises:
            InvalidRequest: There are more pairs than one job may have.
            ValueError: The network lacks what the kind of map needs.
        """
        params = context.request.params
        preprocessing = choose_preprocessing(context.release.preprocessing, params)
        self.sheet = Sheet(context.show)
        self._context = context
        self._pairs = Pairs(context, partial(open_view, preprocessing=preprocessing))
        self._total = self._pairs.count()
        self._reader = MapReader(context, self._pairs)
        self._has_sign = has_sign(params)
        self._map_metrics = build_metrics(context.classifier, params, context.batch)
        self._metrics: list[dict[str, Any]] = []
        self._rule = self._describe_rule()

    def run(
        self, save_pair: SavePair, *, unit: str, check_batch: CheckBatch = lambda _pairs, _maps: None
    ) -> Generator[Progress | BatchRequest, Any, None]:
        """Computes, measures and saves the maps of all pairs, batch after batch."""
        yield Progress(done=0, total=self._total, unit=unit)
        while batch := (yield from self._reader.next()):
            for pair, evidence, metrics in self._measure(*batch, check_batch):
                self._metrics.append(save_pair(pair, evidence) | metrics)
                yield Progress(done=len(self._metrics), total=self._total, unit=unit)
        self._map_metrics.save(self._context)

    def _measure(
        self, pairs: Sequence[Pair], maps: Tensor, check_batch: CheckBatch
    ) -> Iterator[tuple[Pair, MapEvidence, dict[str, Any]]]:
        """Yields the pairs whose map is finite, with its evidence and metrics; the others fail."""
        finite = maps.flatten(1).isfinite().all(1).tolist()
        for pair in (pair for pair, is_finite in zip(pairs, finite, strict=True) if not is_finite):
            self._pairs.fail(pair, self._explain_map(pair), target=self._context.target(pair.target).model_dump())
        kept = [row for row, is_finite in enumerate(finite) if is_finite]
        if not kept:
            return
        pairs, maps = [pairs[row] for row in kept], maps[kept]
        check_batch(pairs, maps)
        evidence = [MapEvidence.of(values, has_sign=self._has_sign) for values in maps.numpy()]
        for pair, each, metrics in zip(pairs, evidence, self._map_metrics.measure(pairs, evidence), strict=True):
            if each.is_empty:
                self._context.output.warn(f"{self._name(pair)} is empty: {each.explain_empty()}")
            yield pair, each, each.describe() | metrics

    def _describe_rule(self) -> dict[str, Any]:
        """How many activations have the rule of the maps, for the job's metrics; empty if the maps have no rule."""
        rule, classifier = find_rule(self._context.request.params), self._context.classifier
        if rule is None:
            return {}
        counts: ActivationCounts = self._context.executor("activations", lambda: count_activations(classifier))
        others = dict(counts.without_rule.most_common())
        if others:
            names = ", ".join(f"{count} x {name}" for name, count in others.items())
            self._context.output.warn(
                f"only {counts.with_rule} of {counts.total} activations of the network are ReLUs and have the rule of "
                f"{rule}; the others have their own gradient: {names}"
            )
        fields = {"rule": rule, "with_rule": counts.with_rule, "without_rule": counts.total - counts.with_rule}
        return {"activations": fields | {"others": others}}

    def _explain_map(self, pair: Pair) -> NotFinite:
        return NotFinite(
            f"{self._name(pair)} has values that are NaN or infinite: the network has no finite "
            f"{'score of a covered image' if self._context.request.params.kind == 'occlusion' else 'gradient'} there"
        )

    def _name(self, pair: Pair) -> str:
        kind, target = self._context.request.params.kind, self._context.target(pair.target)
        return f"the {kind} map of class {target.name} for picture {pair.name}"

    def finish(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Saves the files of the whole job; returns its metrics, to which `metrics` are added. Raises as `finish`."""
        metrics = {"pairs": self._metrics, **self._rule, **metrics, **self._map_metrics.summarize()}
        return finish(self._context, self._pairs, self.sheet, metrics)
