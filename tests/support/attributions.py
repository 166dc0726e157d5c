"""Inputs and helpers for tests of attributions: an opened network, and the comparison with Captum."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from worker.engine.attribution.gradient_fn import GradientFn
from worker.engine.model.classifier import Classifier, open_classifier

IMAGES = torch.randn(4, 3, 18, 24, generator=torch.Generator().manual_seed(5))
TARGETS = torch.tensor([0, 3, 4, 1])


@contextmanager
def opened(network: nn.Module, size: tuple[int, int] = (18, 24)) -> Iterator[Classifier]:
    """Opens a network that takes its inputs without normalization."""
    channels = 3
    with open_classifier(
        network, mean=[0.0] * channels, std=[1.0] * channels, size=size, device=torch.device("cpu")
    ) as classifier:
        yield classifier


def assert_equals_captum(
    gradient_fn: GradientFn, method: str, network: nn.Module, inputs: Tensor, targets: Tensor, **options: Any
) -> None:
    """Asserts that a gradient function equals Captum's method of that name to 1e-5."""
    attr = pytest.importorskip("captum.attr", reason="Captum is the reference")
    with opened(network, (inputs.shape[2], inputs.shape[3])) as classifier:
        ours = gradient_fn(classifier, inputs, targets)
        theirs = getattr(attr, method)(network).attribute(inputs.clone().requires_grad_(), target=targets, **options)
    assert ours.abs().max() > 0
    assert (ours - theirs).abs().max() <= 1e-5
