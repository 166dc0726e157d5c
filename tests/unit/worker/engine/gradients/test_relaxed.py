"""Relaxed gradients against their formulas."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.networks import Functional, Small, seeded
from worker.engine.gradients.relaxed import RelaxedGradient

IMAGES = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(1))
VALUES = torch.linspace(-3, 9, 13)


def differentiate(function, x: Tensor, relaxed: RelaxedGradient | None) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    if relaxed is None:
        y = function(x * 1.0)
    else:
        with relaxed.derivatives():
            y = function(x * 1.0)
    return y.detach(), torch.autograd.grad(y.sum(), x)[0]


@pytest.mark.parametrize(
    "relu",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        functional.relu,
        lambda x: functional.relu(x, inplace=True),
        lambda x: functional.relu(x, True),
        torch.relu,
        torch.relu_,
        lambda x: x.relu(),
        lambda x: x.relu_(),
    ],
)
def test_a_relaxed_relu_passes_a_part_of_the_gradient_where_it_is_closed(relu) -> None:
    y, passed = differentiate(relu, VALUES, RelaxedGradient(0.1, 0))
    assert torch.equal(y, VALUES.clamp_min(0))
    torch.testing.assert_close(passed, torch.where(VALUES > 0, 1.0, 0.1))


@pytest.mark.parametrize("relu", [nn.ReLU6(), nn.ReLU6(inplace=True)])
def test_a_relaxed_relu6_passes_a_part_of_the_gradient_below_0_and_above_6(relu) -> None:
    y, passed = differentiate(relu, VALUES, RelaxedGradient(0.1, 0))
    assert torch.equal(y, VALUES.clamp(0, 6))
    torch.testing.assert_close(passed, torch.where((VALUES > 0) & (VALUES < 6), 1.0, 0.1))


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"padding": 1, "stride": 2}, {"ceil_mode": True, "stride": 2}])
def test_relaxed_max_pooling_passes_a_part_of_the_gradient_to_all_inputs(options) -> None:
    largest, mean = nn.MaxPool2d(3, **options), nn.AvgPool2d(3, **options)
    y, passed = differentiate(largest, IMAGES, RelaxedGradient(0, 0.4))
    assert torch.equal(y, largest(IMAGES))
    expected = 0.6 * differentiate(largest, IMAGES, None)[1] + 0.4 * differentiate(mean, IMAGES, None)[1]
    torch.testing.assert_close(passed, expected)


@pytest.mark.parametrize("kind", [Small, Functional])
def test_relaxed_gradients_do_not_change_the_outputs(kind: type[nn.Module]) -> None:
    network = seeded(kind).eval()
    with RelaxedGradient(0.3, 0.5).derivatives():
        relaxed = network(IMAGES)
    assert torch.equal(relaxed, network(IMAGES))


def test_a_relaxation_of_zero_is_the_true_gradient() -> None:
    network = seeded(Small).eval()
    torch.testing.assert_close(
        differentiate(network, IMAGES, RelaxedGradient(0, 0))[1], differentiate(network, IMAGES, None)[1]
    )
