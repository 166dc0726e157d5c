"""Saliency against Captum's, and against itself one picture at a time."""

import pytest
import torch
from torch import nn

from tests.networks import Small, seeded
from worker.engine.classifier import open_classifier
from worker.engine.saliency import gradient_saliency

CPU = torch.device("cpu")


def assert_equals_captum(network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    attr = pytest.importorskip("captum.attr", reason="Captum is what is compared with")
    size = tuple(inputs.shape[2:])
    with open_classifier(network, mean=[0.0] * 3, std=[1.0] * 3, size=size, device=CPU) as classifier:
        ours = gradient_saliency(classifier, inputs, targets)
        theirs = attr.Saliency(network).attribute(inputs.clone().requires_grad_(), target=targets).amax(1)
    assert ours.abs().max() > 0
    assert (ours - theirs).abs().max() <= 1e-5


def test_a_small_networks_saliency_equals_captums() -> None:
    assert_equals_captum(seeded(Small), torch.randn(6, 3, 24, 18), torch.tensor([0, 1, 2, 3, 4, 0]))


def test_a_batch_is_the_sum_of_its_pictures() -> None:
    inputs, targets = torch.randn(5, 3, 20, 20), torch.tensor([4, 3, 2, 1, 0])
    with open_classifier(seeded(Small), mean=[0.0] * 3, std=[1.0] * 3, size=(20, 20), device=CPU) as classifier:
        together = gradient_saliency(classifier, inputs, targets)
        alone = [gradient_saliency(classifier, inputs[i : i + 1], targets[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(together, torch.cat(alone))
