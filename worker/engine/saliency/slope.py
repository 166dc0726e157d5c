"""What every kind of saliency that goes backwards is made of: a slope, from pictures and targets to a gradient."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from worker.engine.classifier import Classifier
from worker.engine.memory import run_in_parts

Slope = Callable[[Classifier, Tensor, Tensor], Tensor]
"""From normalised inputs (N, C, H, W) and a class index each (N,) to a slope per value (N, C, H, W), float32."""


def in_parts(slope: Slope, at_once: int) -> Slope:
    """The same slope, for at most so many pictures at a time, and fewer where memory runs out."""

    def run(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
        def take(rows: slice) -> Tensor:
            return slope(classifier, inputs[rows], targets[rows])

        parts, _ = run_in_parts(take, len(inputs), at_once)
        return torch.cat(parts)

    return run


def average(slope: Slope, vary: Callable[[Tensor, Tensor], Tensor], weights: Sequence[float], at_once: int) -> Slope:
    """Σₖ weightₖ · slope of the k-th variation of each picture.

    Args:
        slope: Of what.
        vary: From inputs (M, C, H, W) and which variation of each is wanted (M,) to inputs (M, C, H, W).
        weights: Of the variations.
        at_once: How many go through the network at a time; pictures and variations fill a batch together.
    """

    def run(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros_like(inputs)
        factors = torch.tensor(weights, dtype=inputs.dtype, device=inputs.device)
        # Picture by picture, so that each picture's sum has the same order in any company.
        pairs = torch.cartesian_prod(torch.arange(len(inputs)), torch.arange(len(weights))).to(inputs.device)  # (NK, 2)
        for rows, numbers in map(partial(torch.unbind, dim=1), pairs.split(at_once)):
            slopes = slope(classifier, vary(inputs[rows], numbers), targets[rows])
            total.index_add_(0, rows, slopes * factors[numbers].view(-1, 1, 1, 1))
        return total

    return run
