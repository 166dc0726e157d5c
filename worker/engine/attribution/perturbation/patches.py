"""Patch occlusion: the probability of every class when a square of the image is covered.

Unlike `occlusion`, the squares may lie at fractions of pixels, and all classes are measured in the same passes.
"""

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches


def place_squares(size: tuple[int, int], square: int, stride: int) -> Tensor:
    """Lists all squares that lie completely inside an image.

    Args:
        size: Height and width of the image in pixels.
        square: Side of the squares in pixels.
        stride: Distance between neighboring squares in pixels.

    Returns:
        Left, top, right and bottom edges in pixels (K, 4), row by row from the top, each row from the left.

    Raises:
        ValueError: The image is smaller than a square.
    """
    height, width = size
    if square > min(size):
        raise ValueError(f"a square of {square} pixels does not fit into an image of {width} x {height}")
    tops = torch.arange(0, height - square + 1, stride)
    lefts = torch.arange(0, width - square + 1, stride)
    corners = torch.stack(torch.meshgrid(tops, lefts, indexing="ij"), -1).flatten(0, 1)  # (K, 2), top first
    return torch.cat([corners.flip(1), corners.flip(1) + square], 1).float()


@torch.no_grad()
def cover(classifier: Classifier, image: Tensor, squares: Tensor, fill: Tensor | float, *, at_once: int) -> Tensor:
    """Computes the class probabilities of an image with one square after another covered.

    If a square covers a part of a pixel, the pixel is mixed with the fill in that proportion.

    Args:
        classifier: The network; the final ReLU is part of it.
        image: (C, H, W) in 0..1.
        squares: Left, top, right and bottom edges (K, 4) in pixels of the image; fractions are allowed.
        fill: Value of covered pixels in 0..1; a tensor must broadcast to the image.
        at_once: Number of covered images per pass.

    Returns:
        Probabilities (K, classes), on the CPU.
    """

    def compute(rows: slice) -> Tensor:
        covered = _measure_cover(squares[rows], image.shape[1:]).to(image.device)[:, None]  # (k, 1, H, W)
        return classifier.probabilities(classifier.normalize(image * (1 - covered) + fill * covered)).cpu()

    parts, _ = run_in_microbatches(compute, len(squares), at_once)
    return torch.cat(parts)


def average_squares(values: Tensor, squares: Tensor, size: tuple[int, int]) -> Tensor:
    """Computes a map from values of squares: each pixel has the mean of the squares that cover it.

    Args:
        values: A value for each square (K,).
        squares: Left, top, right and bottom edges (K, 4) in pixels; rounded to whole pixels.
        size: Height and width of the map in pixels.

    Returns:
        The map (H, W); 0 where no square lies.
    """
    total, count = torch.zeros(size), torch.zeros(size)
    for value, square in zip(values.tolist(), squares, strict=True):
        left, top, right, bottom = square.round().int().tolist()
        total[top:bottom, left:right] += value
        count[top:bottom, left:right] += 1
    return total / count.clamp_min(1)


def _measure_cover(squares: Tensor, size: torch.Size) -> Tensor:
    """The part of each pixel, 0 to 1, that each of the squares (K, 4) covers: (K, H, W)."""
    across = _measure_overlap(squares[:, 0], squares[:, 2], size[1])
    down = _measure_overlap(squares[:, 1], squares[:, 3], size[0])
    return down[:, :, None] * across[:, None, :]


def _measure_overlap(starts: Tensor, ends: Tensor, count: int) -> Tensor:
    """The part of each of `count` pixels in a row, 0 to 1, that lies between starts and ends (K,): (K, count)."""
    edges = torch.arange(count)
    return (torch.minimum(ends[:, None], edges + 1) - torch.maximum(starts[:, None], edges)).clamp(0, 1)
