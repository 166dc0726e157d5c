"""Patches that matter: how probable a class still is when a square of the picture is covered."""

import torch
from torch import Tensor

from worker.engine.classifier import Classifier
from worker.engine.memory import run_in_parts


def place_squares(size: tuple[int, int], square: int, stride: int) -> Tensor:
    """Left, top, right and bottom of every square that lies wholly in a picture of this height and width: (K, 4).

    In rows from the top, each from the left.

    Raises:
        ValueError: None does.
    """
    height, width = size
    if square > min(size):
        raise ValueError(f"a square of {square} pixels does not fit into a picture of {width} x {height}")
    tops = torch.arange(0, height - square + 1, stride)
    lefts = torch.arange(0, width - square + 1, stride)
    corners = torch.stack(torch.meshgrid(tops, lefts, indexing="ij"), -1).flatten(0, 1)  # (K, 2), top first
    return torch.cat([corners.flip(1), corners.flip(1) + square], 1).float()


@torch.no_grad()
def cover(classifier: Classifier, picture: Tensor, squares: Tensor, fill: Tensor | float, *, at_once: int) -> Tensor:
    """The class probabilities (K, classes), on the CPU, of a picture with one square after another covered.

    A square that covers a part of a pixel is mixed into it by that part.

    Args:
        picture: (C, H, W) in 0..1.
        squares: Left, top, right and bottom (K, 4) in the picture's pixels, perhaps fractions of them.
        fill: What covers, in 0..1.
        at_once: How many covered pictures go through the network at a time.
    """

    def look(rows: slice) -> Tensor:
        shares = _measure_cover(squares[rows], picture.shape[1:]).to(picture.device)[:, None]  # (k, 1, H, W)
        return classifier.scores(classifier.normalise(picture * (1 - shares) + fill * shares)).softmax(1).cpu()

    parts, _ = run_in_parts(look, len(squares), at_once)
    return torch.cat(parts)


def average_squares(values: Tensor, squares: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean of the values (K,) of all squares (K, 4) that cover a pixel, 0 where none does: (H, W)."""
    total, count = torch.zeros(size), torch.zeros(size)
    for value, square in zip(values.tolist(), squares, strict=True):
        left, top, right, bottom = square.round().int().tolist()
        total[top:bottom, left:right] += value
        count[top:bottom, left:right] += 1
    return total / count.clamp_min(1)


def _measure_cover(squares: Tensor, size: torch.Size) -> Tensor:
    """Which part of each pixel (K, H, W) the squares (K, 4) cover."""
    across = _measure_overlap(squares[:, 0], squares[:, 2], size[1])
    down = _measure_overlap(squares[:, 1], squares[:, 3], size[0])
    return down[:, :, None] * across[:, None, :]


def _measure_overlap(starts: Tensor, ends: Tensor, count: int) -> Tensor:
    """Which part of each of `count` pixels in a row lies between starts and ends: (K, count)."""
    edges = torch.arange(count)
    return (torch.minimum(ends[:, None], edges + 1) - torch.maximum(starts[:, None], edges)).clamp(0, 1)
