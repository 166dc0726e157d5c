"""DeconvNet and guided backpropagation: gradients whose backward pass through a ReLU is another.

Let x be a ReLU's input and R the signal that arrives at its output. The signal at its input is

- R · 1(x > 0) for the gradient,
- R · 1(R > 0) for a DeconvNet (Zeiler and Fergus 2013, arXiv 1311.2901),
- R · 1(x > 0) · 1(R > 0) for guided backpropagation (Springenberg et al. 2014, arXiv 1412.6806).

All other layers have their usual gradient (Simonyan et al. 2013, arXiv 1312.6034, section 4).
"""

import torch
from torch import Tensor

from worker.engine.attribution.gradient import gradient
from worker.engine.gradients.relu import ActivationCounts, BackwardRule, ReLURuleMode
from worker.engine.model.classifier import Classifier


def deconvnet(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
    """Computes the signal that a DeconvNet sends back from a class score.

    Args:
        classifier: The network; the final ReLU is part of it.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).

    Returns:
        Attributions (N, C, H, W), float32.

    Raises:
        ValueError: The network has no ReLU.
    """
    return _backpropagate(classifier, inputs, targets, _pass_positive)[0]


def guided(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
    """Computes guided backpropagation from a class score.

    Args:
        classifier: The network; the final ReLU is part of it.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).

    Returns:
        Attributions (N, C, H, W), float32.

    Raises:
        ValueError: The network has no ReLU.
    """
    return _backpropagate(classifier, inputs, targets, _pass_positive_where_open)[0]


def count_activations(classifier: Classifier) -> ActivationCounts:
    """Counts the activations of the network that have the rules of DeconvNets and guided backpropagation.

    The counts are those of a pass of one image, without the activations that `Classifier.scores` leaves out.

    Raises:
        ValueError: The network has no ReLU.
    """
    inputs = torch.zeros(2, classifier.channels, *classifier.size, device=classifier.device)  # (2, C, H, W)
    _, counts = _backpropagate(classifier, inputs, inputs.new_zeros(2, dtype=torch.int64), _pass_positive)
    return counts


def _pass_positive(signal: Tensor, kept: Tensor, ceiling: float | None) -> Tensor:  # noqa: ARG001
    """R · 1(R > 0)."""
    return signal.clamp(min=0)


def _pass_positive_where_open(signal: Tensor, kept: Tensor, ceiling: float | None) -> Tensor:
    """R · 1(x > 0) · 1(R > 0), where x is also below the ceiling."""
    is_open = (kept > 0) if ceiling is None else (kept > 0) & (kept < ceiling)
    return torch.where(is_open, signal.clamp(min=0), 0)  # as the gradient, 0 also where the signal is infinite


def _backpropagate(
    classifier: Classifier, inputs: Tensor, targets: Tensor, rule: BackwardRule
) -> tuple[Tensor, ActivationCounts]:
    with ReLURuleMode(rule) as mode:
        attribution = gradient(classifier, inputs, targets)
    if not mode.counts.with_rule:
        raise ValueError(
            "the network has no ReLU, and without one deconvnet and guided are the gradient; ask for kind gradient"
        )
    return attribution, mode.counts
