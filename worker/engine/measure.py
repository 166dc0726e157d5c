"""What tells a good map from a pretty one: does it point at the object, does the score follow it, and the weights?"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.blur import blur
from worker.engine.classifier import Classifier
from worker.engine.localization import Box
from worker.engine.memory import run_in_parts

BLUR = 10.0
"""Pixels, at a side of 224, of the blur that hides a picture before its pixels are inserted."""


def points_at(values: NDArray[np.float32], boxes: Sequence[Box]) -> bool:
    """The pointing game: whether the largest value of a map (H, W) lies in a box (Zhang et al. 2016, arXiv 1608.00507).

    Equal largest values count as their mean place; a map without contrast points nowhere.
    """
    if not np.isfinite(values).all() or values.max() <= values.min():
        return False
    row, column = np.argwhere(values == values.max()).mean(0) + 0.5
    return any(box.left <= column <= box.right and box.top <= row <= box.bottom for box in boxes)


@torch.no_grad()
def trace_probability(
    classifier: Classifier,
    inputs: Tensor,
    targets: Tensor,
    maps: Tensor,
    *,
    how: Literal["deletion", "insertion"],
    steps: int,
    at_once: int,
) -> Tensor:
    """The target's probability while pixels are removed, or appear, those that a map ranks highest first.

    Deleted pixels take the mean colour; inserted ones appear in a blurred picture (Petsiuk et al. 2018, arXiv
    1806.07421).

    Args:
        inputs: Normalised pictures (N, C, H, W).
        targets: A class index per picture (N,).
        maps: (N, H, W); only the order of the values counts.
        steps: Shares that the pixels are divided into.

    Returns:
        (N, steps + 1), of none to all pixels.
    """
    hidden = torch.zeros_like(inputs) if how == "deletion" else blur(inputs, BLUR * max(inputs.shape[2:]) / 224)
    first, last = (inputs, hidden) if how == "deletion" else (hidden, inputs)
    # A stable order: of equal values the first pixel goes first, so that the same map gives the same trace.
    ranks = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1).view_as(maps)  # (N, H, W)
    shares = torch.linspace(0, maps[0].numel(), steps + 1).round()
    rows = []
    for row in range(len(inputs)):
        changed = (ranks[row][None] < shares.to(ranks)[:, None, None])[:, None]  # (steps + 1, 1, H, W)

        def chances(part: slice, row: int = row, changed: Tensor = changed) -> Tensor:
            return classifier.scores(torch.where(changed[part], last[row], first[row])).softmax(1)[:, targets[row]]

        parts, _ = run_in_parts(chances, steps + 1, at_once)
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def area_under(traces: Tensor) -> Tensor:
    """The area under traces (N, S), whose shares go from 0 to 1: (N,), by the trapezoid rule."""
    return torch.trapezoid(traces, dx=1 / (traces.shape[1] - 1), dim=1)


def shuffle_weights(classifier: Classifier, seed: int) -> Classifier:
    """The same network with every weight tensor's values in random order: what it learned is gone, the scale is not.

    The parameter randomisation of Adebayo et al. 2018 (arXiv 1810.03292, section 3), which draws new weights; shuffled
    ones need no knowledge of how a network is initialised.
    """
    network = copy.deepcopy(classifier.network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return replace(classifier, network=network, graphs=None)


def rank_correlation(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Spearman's correlation of two maps (H, W), −1 to 1; 0 where one of them has no contrast."""
    first, second = _rank(ours.ravel()), _rank(theirs.ravel())
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _rank(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks, the same for equal values: the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places], np.float64)
