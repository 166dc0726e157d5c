"""The measures of maps that a request asks for: of each pair, their means, and a plot."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.parameters.saliency import SaliencyParameters
from worker.engine.bootstrap import mean_with_interval
from worker.engine.classifier import Classifier
from worker.engine.localization import Box
from worker.engine.measure import area_under, points_at, rank_correlation, shuffle_weights, trace_probability
from worker.engine.render import encode_png, render_traces
from worker.engine.saliency.ten_crop import MapOf
from worker.engine.transform import fit
from worker.mapping import choose_map, map_pairs
from worker.pairs import Pair
from worker.preprocess import to_tensor
from worker.task import Task

STEPS = 32
"""Shares of the pixels that are deleted or inserted one after another."""

SHUFFLE_SEED = 0

Measured = dict[str, Any]


@dataclass(frozen=True)
class Measures:
    """Of one job.

    Attributes:
        random_map_of: What makes the maps of a network that has learned nothing; None where that is not asked for.
        taken: What was measured of each pair so far.
        traces: Mean probabilities by share of the pixels so far, of deletion and insertion.
    """

    classifier: Classifier
    params: SaliencyParameters
    at_once: int
    random_map_of: MapOf | None
    taken: list[Measured] = field(default_factory=list)
    traces: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def take(self, pairs: list[Pair], maps: Tensor) -> list[Measured]:
        """Measures a batch of maps (N, H, W): a dictionary for each, empty where nothing is asked for."""
        found: list[Measured] = [{} for _ in pairs]
        for how in ("deletion", "insertion"):
            if how in self.params.measures:
                for each, trace in zip(found, self._trace(pairs, maps, how), strict=True):
                    each[f"{how}_auc"] = float(area_under(trace[None]))
                    self._add(how, trace)
        values = maps.abs().numpy()
        if "pointing" in self.params.measures:
            for each, pair, value in zip(found, pairs, values, strict=True):
                each |= {"pointing": points(pair, value)} if pair.picture.boxes else {}
        if self.random_map_of is not None:
            others = map_pairs(self.classifier, self.random_map_of, pairs).abs().numpy()
            for each, value, other in zip(found, values, others, strict=True):
                each["randomized_rank_correlation"] = rank_correlation(value, other)
        self.taken.extend(found)
        return found

    def sum_up(self) -> dict[str, Any]:
        """The mean of every measure with its interval, for the job's metrics."""
        names = dict.fromkeys(name for each in self.taken for name in each)
        means = {name: mean_with_interval([float(each[name]) for each in self.taken if name in each]) for name in names}
        return {"measures": means} if means else {}

    def save(self, task: Task[Any]) -> None:
        """The plot of the mean traces, where there are any."""
        if self.traces:
            means = {how: (total / len(self.taken)).tolist() for how, (total,) in self.traces.items()}
            task.save("measures.png", encode_png(render_traces(means)))

    def _trace(self, pairs: Sequence[Pair], maps: Tensor, how: Any) -> Tensor:
        pictures = torch.stack([to_tensor(pair.view.levels) for pair in pairs]).to(self.classifier.device)
        inputs = self.classifier.normalise(fit(pictures, self.classifier.size))
        targets = torch.tensor([pair.target for pair in pairs], device=self.classifier.device)
        fitted = fit(maps.abs()[:, None], self.classifier.size)[:, 0].to(inputs.device)
        return trace_probability(
            self.classifier, inputs, targets, fitted, how=how, steps=STEPS, at_once=self.at_once
        ).cpu()

    def _add(self, how: str, trace: Tensor) -> None:
        total = self.traces.setdefault(how, [np.zeros(len(trace))])
        total[0] += trace.double().numpy()


def begin_measures(classifier: Classifier, params: SaliencyParameters, at_once: int) -> Measures:
    """Ready to measure what a request asks for."""
    random = "randomization" in params.measures
    shuffled = choose_map(shuffle_weights(classifier, SHUFFLE_SEED), params, at_once) if random else None
    return Measures(classifier, params, at_once, shuffled)


def points(pair: Pair, values: NDArray[np.float32]) -> bool:
    """Whether the map's largest value lies in a true box of the picture."""
    boxes = [Box(box.left, box.top, box.right, box.bottom) for box in pair.picture.boxes]
    return points_at(pair.view.place_map(values), boxes)
