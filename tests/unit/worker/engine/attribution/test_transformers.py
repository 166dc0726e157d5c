"""Gradient methods on transformers, which have no ReLU and not always channels first."""

import pytest
import torch
from torch import nn

from tests.support.attributions import opened
from tests.support.families import build_torchvision
from worker.engine.attribution.averaged_gradients import integrated_gradients, smoothgrad, times_input
from worker.engine.attribution.gradient import gradient
from worker.engine.attribution.gradient_fn import GradientFn

GRADIENTS = {
    "gradient": gradient,
    "gradient_x_input": times_input(gradient),
    "smoothgrad": smoothgrad(gradient, samples=2, deviation=0.2, seed=0, at_once=4),
    "integrated_gradients": integrated_gradients(gradient, steps=2, at_once=4),
}


SIZE = 64


@pytest.fixture(scope="module", params=["vit_b_32", "swin_t"])
def transformer(request: pytest.FixtureRequest) -> nn.Module:
    return build_torchvision(request.param, SIZE)


@pytest.mark.parametrize("gradient_fn", GRADIENTS.values(), ids=GRADIENTS)
def test_every_kind_of_gradient_works_on_transformers(transformer: nn.Module, gradient_fn: GradientFn) -> None:
    inputs = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with opened(transformer, (SIZE, SIZE)) as classifier:
        result = gradient_fn(classifier, inputs, torch.tensor([0, 6]))
    assert result.shape == inputs.shape
    assert result.isfinite().all()
    assert (result.flatten(1).abs().amax(1) > 0).all()
