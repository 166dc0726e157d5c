"""What the tests of saliency share: a network opened as it is, and the one way to compare slopes with Captum's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from worker.engine.classifier import Classifier, open_classifier
from worker.engine.saliency.slope import Slope

PICTURES = torch.randn(4, 3, 18, 24, generator=torch.Generator().manual_seed(5))
TARGETS = torch.tensor([0, 3, 4, 1])


@contextmanager
def opened(network: nn.Module, size: tuple[int, int] = (18, 24)) -> Iterator[Classifier]:
    """The network, taking its inputs as they are."""
    channels = 3
    with open_classifier(
        network, mean=[0.0] * channels, std=[1.0] * channels, size=size, device=torch.device("cpu")
    ) as classifier:
        yield classifier


def assert_equals_captum(
    slope: Slope, method: str, network: nn.Module, inputs: Tensor, targets: Tensor, **options: Any
) -> None:
    """A slope equals what Captum's method of that name gives, to 1e-5."""
    attr = pytest.importorskip("captum.attr", reason="Captum is what is compared with")
    with opened(network, (inputs.shape[2], inputs.shape[3])) as classifier:
        ours = slope(classifier, inputs, targets)
        theirs = getattr(attr, method)(network).attribute(inputs.clone().requires_grad_(), target=targets, **options)
    assert ours.abs().max() > 0
    assert (ours - theirs).abs().max() <= 1e-5
