"""Metrics of saliency maps: how faithful they are to the network, pair by pair, on average and as a plot."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archetype.contract.parameters.saliency import SaliencyParameters
from worker.attribution.evidence import MapEvidence
from worker.attribution.saliency_maps import choose_map, map_pairs
from worker.engine.ascent.transforms import fit
from worker.engine.attribution.bootstrap import mean_with_interval
from worker.engine.attribution.boxes import Box
from worker.engine.attribution.metrics import (
    area_under,
    points_at,
    rank_correlation,
    shuffle_weights,
    trace_probability,
)
from worker.engine.attribution.ten_crop import MapOf
from worker.engine.model.classifier import Classifier
from worker.engine.render import encode_png, render_traces
from worker.inputs.pairs import Pair
from worker.inputs.preprocess import to_tensor
from worker.job.context import JobContext

STEPS = 32
"""Number of equal parts of the pixels that are deleted or inserted one after another."""

SHUFFLE_SEED = 0

PairMetrics = dict[str, Any]

Traces = dict[str, list[float]]
"""The target's probability after each step (STEPS + 1,) of a pair, by direction."""

Direction = Literal["deletion", "insertion"]


class Measured(NamedTuple):
    """What was measured of the map of a pair; JSON."""

    measures: PairMetrics
    traces: Traces


@dataclass(frozen=True)
class MapMetrics:
    """Measures maps.

    Deletion and insertion: Petsiuk et al. 2018 (arXiv 1806.07421). Pointing game: Zhang et al. 2016 (arXiv 1608.00507).
    Randomization: Adebayo et al. 2018 (arXiv 1810.03292).

    Attributes:
        classifier: The network.
        params: Parameters of the request; `measures` names the metrics.
        at_once: Maximum number of images in one pass through the network.
        random_map_of: Computes maps of the network with shuffled weights; None without `randomization`.
    """

    classifier: Classifier
    params: SaliencyParameters
    at_once: int
    random_map_of: MapOf | None

    def measure(self, pairs: Sequence[Pair], maps: Sequence[MapEvidence]) -> list[Measured]:
        """Measures the maps of pairs; the metrics of each are empty if the request asks for none.

        An empty map ranks no pixel above another: it points nowhere, and its other metrics are None.
        """
        batch = [Measured({}, {}) for _ in pairs]
        self._add_probabilities(batch, pairs, maps)
        if "pointing" in self.params.metrics:
            for measured, pair, each in zip(batch, pairs, maps, strict=True):
                points = not each.is_empty and points_at_box(pair, each.positive)
                measured.measures.update({"pointing": points} if pair.image.boxes else {})
        if self.random_map_of is not None:
            shuffled = map_pairs(self.classifier, self.random_map_of, list(pairs)).numpy()
            for measured, each, values in zip(batch, maps, shuffled, strict=True):
                measured.measures["randomized_rank_correlation"] = compare_with_random(each, values)
        return batch

    def _add_probabilities(self, batch: Sequence[Measured], pairs: Sequence[Pair], maps: Sequence[MapEvidence]) -> None:
        rows = [row for row, each in enumerate(maps) if not each.is_empty]
        directions: tuple[Direction, ...] = ("deletion", "insertion")
        for direction in (direction for direction in directions if direction in self.params.metrics):
            for measured in batch:
                measured.measures[f"{direction}_auc"] = None
            if not rows:
                continue
            positive = torch.from_numpy(np.stack([maps[row].positive for row in rows]))
            traces = self._trace([pairs[row] for row in rows], positive, direction)  # (N, STEPS + 1)
            for row, trace in zip(rows, traces, strict=True):
                if bool(trace.isfinite().all()):
                    batch[row].measures[f"{direction}_auc"] = float(area_under(trace[None]))
                    batch[row].traces[direction] = trace.double().tolist()

    def _trace(self, pairs: Sequence[Pair], maps: Tensor, direction: Direction) -> Tensor:
        images = torch.stack([to_tensor(pair.view.levels) for pair in pairs]).to(self.classifier.device)
        inputs = self.classifier.normalize(fit(images, self.classifier.size))
        targets = torch.tensor([pair.target for pair in pairs], device=self.classifier.device)
        fitted = fit(maps[:, None], self.classifier.size)[:, 0].to(inputs.device)
        return trace_probability(
            self.classifier, inputs, targets, fitted, how=direction, steps=STEPS, at_once=self.at_once
        ).cpu()


class MapSummary:
    """The metrics of all maps of a job: the mean of each with its interval, and a plot of the mean traces."""

    def __init__(self) -> None:
        """Creates the summary of no maps."""
        self._pairs: list[PairMetrics] = []
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, measures: PairMetrics, traces: Traces) -> None:
        """Adds what was measured of the map of the next pair."""
        self._pairs.append(measures)
        for direction, trace in traces.items():
            self._sums[direction] = self._sums.get(direction, 0) + np.array(trace)
            self._counts[direction] += 1

    def describe(self) -> dict[str, Any]:
        """The mean of each metric with its interval, for the job's metrics."""
        names = dict.fromkeys(name for metrics in self._pairs for name in metrics)
        means = {
            name: summarize([metrics[name] for metrics in self._pairs if metrics.get(name) is not None])
            for name in names
        }
        return {"measures": means} if means else {}

    def save(self, context: JobContext[Any]) -> None:
        """Saves a plot of the mean traces, if there are any."""
        if self._sums:
            means = {direction: (total / self._counts[direction]).tolist() for direction, total in self._sums.items()}
            context.save("measures.png", encode_png(render_traces(means)))


def build_metrics(classifier: Classifier, params: SaliencyParameters, at_once: int) -> MapMetrics:
    """Prepares the metrics that a request asks for.

    Args:
        classifier: The network.
        params: Parameters of the request.
        at_once: Maximum number of images in one pass through the network.
    """
    random = "randomization" in params.metrics
    shuffled = choose_map(shuffle_weights(classifier, SHUFFLE_SEED), params, at_once) if random else None
    return MapMetrics(classifier, params, at_once, shuffled)


def summarize(values: Sequence[float]) -> dict[str, float | None]:
    """The mean of a metric with its interval; None if no pair has a value."""
    if not values:
        return {"mean": None, "low": None, "high": None}
    return dict(mean_with_interval([float(value) for value in values]))


def compare_with_random(ours: MapEvidence, values: NDArray[np.float32]) -> float | None:
    """The rank correlation with the map (h, w) of the network with shuffled weights; None if one of them is empty."""
    if ours.is_empty or not np.isfinite(values).all():
        return None
    theirs = MapEvidence.of(values, ours.reading)
    return None if theirs.is_empty else rank_correlation(ours.positive, theirs.positive)


def points_at_box(pair: Pair, values: NDArray[np.float32]) -> bool:
    """Whether the largest value of a map (h, w) lies in a true box of the pair's image."""
    boxes = [Box(box.left, box.top, box.right, box.bottom) for box in pair.image.boxes]
    return points_at(pair.view.place_map(values), boxes)
