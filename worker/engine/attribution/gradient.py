"""The gradient of a class score with respect to the image's pixels: saliency as Simonyan et al. 2013 define it."""

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.network_call import NetworkError, compute_gradients


def gradient(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
    """Computes w = ∂S_t/∂I (Simonyan et al. 2013, arXiv 1312.6034, section 3).

    One forward and one backward pass suffice for the whole batch: the images do not interact, so the gradient of the
    sum of the scores consists of the gradients of the individual scores.

    Args:
        classifier: The network; the final ReLU is part of it.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).

    Returns:
        Gradients (N, C, H, W), float32.
    """
    inputs = inputs.detach().requires_grad_()
    scores = classifier.scores(inputs).gather(1, targets[:, None])  # (N, 1)
    (gradients,) = compute_gradients(scores.sum(), [inputs])
    return gradients


def gives_gradients(classifier: Classifier) -> bool:
    """Whether the scores of a network have a gradient: a black box, or a network that detaches them, gives none."""
    inputs = torch.zeros(1, classifier.channels, *classifier.size, device=classifier.device)
    try:
        gradient(classifier, inputs, torch.zeros(1, dtype=torch.int64, device=classifier.device))
    except NetworkError:
        return False
    return True
