"""Functions from inputs and targets to a gradient, and operators on them: microbatches and weighted averages.

Gradient, DeconvNet and guided backpropagation have the type `GradientFn`, so that SmoothGrad and integrated gradients
apply to each of them.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches

GradientFn = Callable[[Classifier, Tensor, Tensor], Tensor]
"""From normalized inputs (N, C, H, W) and a class index for each (N,) to attributions (N, C, H, W), float32."""


def in_microbatches(gradient_fn: GradientFn, at_once: int) -> GradientFn:
    """Returns the same function, run on at most `at_once` images at a time, and on fewer if memory runs out."""

    def run(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
        def compute(rows: slice) -> Tensor:
            return gradient_fn(classifier, inputs[rows], targets[rows])

        parts, _ = run_in_microbatches(compute, len(inputs), at_once)
        return torch.cat(parts)

    return run


Vary = Callable[[Tensor, Tensor], Tensor]
"""From inputs (M, C, H, W) and the index of a variation for each (M,) to values (M, C, H, W)."""


def average(
    gradient_fn: GradientFn, vary: Vary, weights: Sequence[float], at_once: int, *, times: Vary | None = None
) -> GradientFn:
    """Returns the weighted sum over variations of the inputs: Σₖ weightₖ · factorₖ ⊙ gradient of the k-th variation.

    Args:
        gradient_fn: Computes a gradient.
        vary: Returns the variation of each input.
        weights: Weight of each variation.
        at_once: Number of inputs per pass; a pass holds variations of several images.
        times: Returns the factors of the gradients; None for 1.
    """

    def run(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros_like(inputs)
        factors = torch.tensor(weights, dtype=inputs.dtype, device=inputs.device)
        # Image by image, so that the order of each image's sum does not depend on the rest of the batch.
        pairs = torch.cartesian_prod(torch.arange(len(inputs)), torch.arange(len(weights))).to(inputs.device)  # (NK, 2)
        for rows, numbers in map(partial(torch.unbind, dim=1), pairs.split(at_once)):
            gradients = gradient_fn(classifier, vary(inputs[rows], numbers), targets[rows])  # (at_once, C, H, W)
            if times is not None:
                gradients = gradients * times(inputs[rows], numbers)
            total.index_add_(0, rows, gradients * factors[numbers].view(-1, 1, 1, 1))
        return total

    return run
