"""Occlusion: how much the class score falls when a square of the picture is covered."""

import itertools
import math

import torch
from torch import Tensor

from worker.engine.classifier import Classifier
from worker.engine.memory import run_in_parts


@torch.no_grad()
def occlude(
    classifier: Classifier, inputs: Tensor, targets: Tensor, *, square: int, stride: int, fill: float, at_once: int
) -> Tensor:
    """The mean fall of the score over the squares that cover a pixel (Zeiler and Fergus 2013, arXiv 1311.2901).

    Args:
        inputs: Normalised pictures (N, C, H, W).
        targets: A class index per picture (N,).
        square: Side in pixels; squares at the edge are cut off there.
        stride: Pixels between two squares.
        fill: What squares are filled with, in units of the normalised inputs; 0 is the mean colour.
        at_once: How many covered pictures go through the network at a time.

    Returns:
        Maps (N, H, W), below 0 where covering helps.
    """
    height, width = inputs.shape[2:]
    corners = list(itertools.product(_starts(height, square, stride), _starts(width, square, stride)))
    areas = [(slice(top, top + square), slice(left, left + square)) for top, left in corners]
    whole = _score(classifier, inputs, targets, at_once)
    maps, count = torch.zeros_like(inputs[:, 0]), torch.zeros_like(inputs[0, 0])
    for area in areas:
        count[area] += 1
    for row, start in itertools.product(range(len(inputs)), range(0, len(areas), at_once)):
        part = areas[start : start + at_once]
        covered = torch.stack([_cover(inputs[row], area, fill) for area in part])
        falls = whole[row] - _score(classifier, covered, targets[row].expand(len(part)), at_once)
        for area, fall in zip(part, falls, strict=True):
            maps[row][area] += fall
    return maps / count.clamp_min(1)


def _score(classifier: Classifier, inputs: Tensor, targets: Tensor, at_once: int) -> Tensor:
    """The targets' scores (N,)."""
    parts, _ = run_in_parts(lambda rows: classifier.scores(inputs[rows]), len(inputs), at_once)
    return torch.cat(parts).gather(1, targets[:, None]).squeeze(1)


def _cover(picture: Tensor, area: tuple[slice, slice], fill: float) -> Tensor:
    covered = picture.clone()
    covered[:, *area] = fill
    return covered


def _starts(extent: int, square: int, stride: int) -> range:
    """Where squares begin along an axis, so that they reach its end."""
    return range(0, stride * (math.ceil(max(0, extent - square) / stride) + 1), stride)
