"""Occlusion: how much the class score falls when a square of the image is covered."""

import itertools
import math

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches

ROUNDING = 4 * torch.finfo(torch.float32).eps
"""Largest relative difference of two scores that may be rounding: another batch size gives other last digits."""


@torch.no_grad()
def occlude(
    classifier: Classifier, inputs: Tensor, targets: Tensor, *, square: int, stride: int, fill: float, at_once: int
) -> Tensor:
    """Computes the mean fall of the score over all squares that cover a pixel.

    The method is that of Zeiler and Fergus 2013 (arXiv 1311.2901).

    Args:
        classifier: The network; the final ReLU is part of it.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).
        square: Side of the squares in pixels; squares are cut off at the image's edge.
        stride: Distance between neighboring squares in pixels.
        fill: Value of covered pixels in units of the normalized inputs; 0 is the mean color.
        at_once: Number of covered images per pass.

    Returns:
        Maps (N, H, W); negative where the score rises when a pixel is covered.
    """
    height, width = inputs.shape[2:]
    corners = list(itertools.product(_starts(height, square, stride), _starts(width, square, stride)))
    areas = [(slice(top, top + square), slice(left, left + square)) for top, left in corners]
    plain = _score(classifier, inputs, targets, at_once)
    maps, count = torch.zeros_like(inputs[:, 0]), torch.zeros_like(inputs[0, 0])
    for area in areas:
        count[area] += 1
    for row, start in itertools.product(range(len(inputs)), range(0, len(areas), at_once)):
        part = areas[start : start + at_once]
        covered = torch.stack([_cover(inputs[row], area, fill) for area in part])  # (at_once, C, H, W)
        falls = find_falls(plain[row], _score(classifier, covered, targets[row].expand(len(part)), at_once))
        for area, fall in zip(part, falls, strict=True):
            maps[row][area] += fall
    return maps / count.clamp_min(1)


def find_falls(before: Tensor, after: Tensor) -> Tensor:
    """Computes how far values fall (N, …); a difference that is no more than rounding is zero.

    Args:
        before: The values with nothing covered; must broadcast to those after.
        after: The values (N, …) with something covered.
    """
    falls = before - after
    rounding = ROUNDING * torch.maximum(before.abs(), after.abs())
    return torch.where(falls.abs() <= rounding, 0, falls)


def _score(classifier: Classifier, inputs: Tensor, targets: Tensor, at_once: int) -> Tensor:
    """Scores of the targets (N,)."""
    parts, _ = run_in_microbatches(lambda rows: classifier.scores(inputs[rows]), len(inputs), at_once)
    return torch.cat(parts).gather(1, targets[:, None]).squeeze(1)


def _cover(image: Tensor, area: tuple[slice, slice], fill: float) -> Tensor:
    covered = image.clone()
    covered[:, *area] = fill
    return covered


def _starts(extent: int, square: int, stride: int) -> range:
    """First pixels of the squares along an axis, so that the last square reaches its end."""
    return range(0, stride * (math.ceil(max(0, extent - square) / stride) + 1), stride)
