"""The gradient of a class score by the picture's pixels."""

import torch
from torch import Tensor

from worker.engine.classifier import Classifier


def gradient(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
    """w = ∂S_t/∂I (Simonyan et al. 2013, arXiv 1312.6034, section 3).

    One forward and one backward pass for the whole batch: the pictures do not touch, so the gradient of the sum of the
    scores holds every picture's own.

    Args:
        classifier: With its final ReLU, where it has one: the network is explained as it is.
        inputs: Normalised pictures (N, C, H, W).
        targets: A class index per picture (N,).

    Returns:
        Slopes (N, C, H, W), float32.
    """
    inputs = inputs.detach().requires_grad_()
    scores = classifier.scores(inputs).gather(1, targets[:, None])  # (N, 1)
    (slope,) = torch.autograd.grad(scores.sum(), inputs)
    return slope
