"""Gentler derivatives: the same values, a literal other gradient."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.networks import Functional, Small, seeded
from worker.engine.backward import Gentle

PICTURES = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(1))
VALUES = torch.linspace(-3, 9, 13)


def slope(function, x: Tensor, gentle: Gentle | None) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    if gentle is None:
        y = function(x * 1.0)
    else:
        with gentle.derivatives():
            y = function(x * 1.0)
    return y.detach(), torch.autograd.grad(y.sum(), x)[0]


@pytest.mark.parametrize(
    "relu",
    [
        nn.ReLU(), nn.ReLU(inplace=True), functional.relu, lambda x: functional.relu(x, inplace=True),
        lambda x: functional.relu(x, True), torch.relu, torch.relu_, lambda x: x.relu(), lambda x: x.relu_(),
    ],
)  # fmt: skip
def test_a_closed_relu_lets_a_part_of_the_gradient_through(relu) -> None:
    y, through = slope(relu, VALUES, Gentle(0.1, 0))
    assert torch.equal(y, VALUES.clamp_min(0))
    torch.testing.assert_close(through, torch.where(VALUES > 0, 1.0, 0.1))


@pytest.mark.parametrize("relu", [nn.ReLU6(), nn.ReLU6(inplace=True)])
def test_a_relu6_has_two_ends(relu) -> None:
    y, through = slope(relu, VALUES, Gentle(0.1, 0))
    assert torch.equal(y, VALUES.clamp(0, 6))
    torch.testing.assert_close(through, torch.where((VALUES > 0) & (VALUES < 6), 1.0, 0.1))


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"padding": 1, "stride": 2}, {"ceil_mode": True, "stride": 2}])
def test_a_max_pooling_sends_a_part_of_the_gradient_to_all_of_its_inputs(options) -> None:
    largest, mean = nn.MaxPool2d(3, **options), nn.AvgPool2d(3, **options)
    y, through = slope(largest, PICTURES, Gentle(0, 0.4))
    assert torch.equal(y, largest(PICTURES))
    expected = 0.6 * slope(largest, PICTURES, None)[1] + 0.4 * slope(mean, PICTURES, None)[1]
    torch.testing.assert_close(through, expected)


@pytest.mark.parametrize("kind", [Small, Functional])
def test_the_network_says_what_it_always_says(kind: type[nn.Module]) -> None:
    network = seeded(kind).eval()
    with Gentle(0.3, 0.5).derivatives():
        gentle = network(PICTURES)
    assert torch.equal(gentle, network(PICTURES))


def test_nothing_gentle_is_the_plain_gradient() -> None:
    network = seeded(Small).eval()
    torch.testing.assert_close(slope(network, PICTURES, Gentle(0, 0))[1], slope(network, PICTURES, None)[1])
