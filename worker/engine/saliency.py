"""Which pixels a class score depends on."""

import torch
from torch import Tensor

from worker.engine.classifier import Classifier


def gradient_saliency(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
    """The gradient's largest magnitude over the channels: max_c |∂S_t/∂I| (Simonyan et al. 2013, section 3).

    One forward and one backward pass for the whole batch: the pictures do not touch, so the gradient of the sum of the
    scores holds every picture's own.

    Args:
        inputs: Normalised pictures (N, C, H, W).
        targets: A class index per picture (N,).

    Returns:
        Maps (N, H, W), at least 0.
    """
    inputs = inputs.detach().requires_grad_()
    scores = classifier.scores(inputs).gather(1, targets[:, None])  # (N, 1)
    (slope,) = torch.autograd.grad(scores.sum(), inputs)  # (N, C, H, W)
    return slope.abs().amax(1)
