"""Metrics of attributions: pointing game, deletion and insertion, parameter randomization, rank correlation."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.attribution.boxes import Box
from worker.engine.blur import blur
from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches
from worker.engine.model.prepare import PreparedNetwork

BLUR = 10.0
"""Standard deviation, in pixels at a side of 224, of the blur that hides an image before its pixels are inserted."""


def points_at(saliency: NDArray[np.float32], boxes: Sequence[Box]) -> bool:
    """Plays the pointing game: is the map's largest value in one of the boxes (Zhang et al. 2016, arXiv 1608.00507)?

    If several pixels have the largest value, their mean position counts. A map without contrast points nowhere.

    Args:
        saliency: A map (H, W).
        boxes: True boxes of the object in pixels of the map.
    """
    if not np.isfinite(saliency).all() or saliency.max() <= saliency.min():
        return False
    row, column = np.argwhere(saliency == saliency.max()).mean(0) + 0.5
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
    """Traces the target's probability while pixels are deleted or inserted in the order of a map, highest first.

    Deleted pixels get the mean color; inserted pixels replace those of the blurred image (Petsiuk et al. 2018, arXiv
    1806.07421).

    Args:
        classifier: The network; the final ReLU is part of it.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).
        maps: Saliency maps (N, H, W); only the order of the values counts.
        how: Whether pixels are deleted or inserted.
        steps: Number of equal groups into which the pixels are divided.
        at_once: Number of images per pass.

    Returns:
        Probabilities (N, steps + 1), from no changed pixels to all pixels.
    """
    hidden = torch.zeros_like(inputs) if how == "deletion" else blur(inputs, BLUR * max(inputs.shape[2:]) / 224)
    first, last = (inputs, hidden) if how == "deletion" else (hidden, inputs)
    # A stable order: of equal values the first pixel goes first, so that the same map gives the same trace.
    ranks = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1).view_as(maps)  # (N, H, W)
    counts = torch.linspace(0, maps[0].numel(), steps + 1).round()
    traces = []
    for row in range(len(inputs)):
        changed = (ranks[row][None] < counts.to(ranks)[:, None, None])[:, None]  # (steps + 1, 1, H, W)

        def compute(part: slice, row: int = row, changed: Tensor = changed) -> Tensor:
            return classifier.probabilities(torch.where(changed[part], last[row], first[row]))[:, targets[row]]

        parts, _ = run_in_microbatches(compute, steps + 1, at_once)
        traces.append(torch.cat(parts))
    return torch.stack(traces)


def area_under(traces: Tensor) -> Tensor:
    """Computes the area under traces (N, S) over 0..1 by the trapezoid rule: (N,)."""
    return torch.trapezoid(traces, dx=1 / (traces.shape[1] - 1), dim=1)


def shuffle_weights(classifier: Classifier, seed: int) -> Classifier:
    """Returns the network with the values of every weight tensor in random order: an untrained network of equal scale.

    This is the parameter randomization of Adebayo et al. 2018 (arXiv 1810.03292, section 3). They draw new weights;
    shuffling needs no knowledge of a network's initialization.

    Args:
        classifier: The network; it stays unchanged.
        seed: Seed of the order.
    """
    network = copy.deepcopy(classifier.network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return replace(classifier, prepared=PreparedNetwork(network, network), graphs=None)


def rank_correlation(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Computes Spearman's rank correlation of two maps (H, W), −1 to 1; 0 if one of them has no contrast."""
    first, second = _rank(ours.ravel()), _rank(theirs.ravel())
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _rank(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks of values (n,); equal values have the mean of their ranks."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[groups], np.float64)
