"""Transformers, which have no ReLU and no channels first: every kind that goes backwards works on them."""

import pytest
import torch
from torch import nn

from tests.attributions import opened
from tests.worker.engine.saliency.test_grad_cam import build
from worker.engine.saliency.averages import along_path, smooth, times_input
from worker.engine.saliency.gradient import gradient
from worker.engine.saliency.slope import Slope

SLOPES = {
    "gradient": gradient,
    "gradient_x_input": times_input(gradient),
    "smoothgrad": smooth(gradient, samples=2, deviation=0.2, seed=0, at_once=4),
    "integrated_gradients": along_path(gradient, steps=2, at_once=4),
}


@pytest.fixture(scope="module", params=[("vit_b_32", 224), ("swin_t", 64)], ids=["vit", "swin"])
def transformer(request: pytest.FixtureRequest) -> tuple[nn.Module, int]:
    name, size = request.param
    return build(name), size


@pytest.mark.parametrize("slope", SLOPES.values(), ids=SLOPES)
def test_a_slope_of_each_picture(transformer: tuple[nn.Module, int], slope: Slope) -> None:
    network, size = transformer
    inputs = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with opened(network, (size, size)) as classifier:
        found = slope(classifier, inputs, torch.tensor([0, 6]))
    assert found.shape == inputs.shape
    assert found.isfinite().all()
    assert (found.flatten(1).abs().amax(1) > 0).all()
