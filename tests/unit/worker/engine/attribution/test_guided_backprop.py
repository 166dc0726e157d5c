"""DeconvNet and guided backpropagation against Captum's, and against an explicit loop over layers."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.attributions import IMAGES, TARGETS, assert_equals_captum, opened
from tests.support.networks import seeded
from worker.engine.attribution.guided_backprop import deconvnet, guided
from worker.engine.model.prepare import PreparedNetwork


class Chain(nn.Module):
    """Convolution, ReLU, pooling, convolution, ReLU, scores; subclasses have other forms of ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 5)
        self.first_relu, self.second_relu = nn.ReLU(), nn.ReLU()

    def relu(self, x: Tensor, place: int) -> Tensor:
        return (self.first_relu, self.second_relu)[place](x)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.relu(self.first(x), 0), 2)
        return self.last(self.relu(self.second(x), 1).mean((2, 3)))


class Functional(Chain):
    def relu(self, x: Tensor, place: int) -> Tensor:
        return functional.relu(x) if place else x.relu()


class InPlace(Chain):
    def relu(self, x: Tensor, place: int) -> Tensor:
        return torch.relu_(x) if place else functional.relu(x, inplace=True)


class Reused(Chain):
    def relu(self, x: Tensor, place: int) -> Tensor:  # noqa: ARG002
        return self.first_relu(x)


def propagate_back(network: Chain, inputs: Tensor, targets: Tensor, *, only_open: bool) -> Tensor:
    """The signal at the image, computed layer by layer with the masks of Simonyan et al. 2013, section 4."""
    before_one = network.first(inputs)
    pooled, places = functional.max_pool2d(before_one.clamp(min=0), 2, return_indices=True)
    before_two = network.second(pooled)
    signal = network.last.weight[targets][:, :, None, None].expand_as(before_two) / before_two[0, 0].numel()

    def through_relu(signal: Tensor, before: Tensor) -> Tensor:
        signal = torch.where(signal > 0, signal, torch.zeros_like(signal))
        return torch.where(before > 0, signal, torch.zeros_like(signal)) if only_open else signal

    signal = functional.conv_transpose2d(through_relu(signal, before_two), network.second.weight, padding=1)
    signal = functional.max_unpool2d(signal, places, 2, output_size=before_one.shape[2:])
    return functional.conv_transpose2d(through_relu(signal, before_one), network.first.weight, padding=1)


METHODS = [(deconvnet, "Deconvolution", False), (guided, "GuidedBackprop", True)]


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
@pytest.mark.parametrize(("gradient_fn", "method", "only_open"), METHODS)
def test_with_relu_modules_deconvnet_and_guided_backprop_equal_captums(
    gradient_fn: Any, method: str, only_open: bool
) -> None:
    assert_equals_captum(gradient_fn, method, seeded(Chain).eval(), IMAGES, TARGETS)


@pytest.mark.parametrize(("gradient_fn", "method", "only_open"), METHODS)
@pytest.mark.parametrize("form", [Chain, Functional, InPlace, Reused])
def test_deconvnet_and_guided_backprop_match_the_paper_for_every_form_of_relu(
    form: type[Chain],
    gradient_fn: Any,
    method: str,
    only_open: bool,
) -> None:
    network = seeded(form).eval()
    with opened(network) as classifier, torch.no_grad():
        expected = propagate_back(network, IMAGES, TARGETS, only_open=only_open)
    with opened(network) as classifier:
        result = gradient_fn(classifier, IMAGES, TARGETS)
    assert result.abs().max() > 0
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("gradient_fn", [deconvnet, guided])
def test_relus_of_an_exported_graph_are_recognized(gradient_fn: Any) -> None:
    network = seeded(Functional).eval()
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(network, (IMAGES,), dynamic_shapes=[{0: batch}]).module()
    with opened(network) as classifier:
        expected = gradient_fn(classifier, IMAGES, TARGETS)
        result = gradient_fn(replace(classifier, prepared=PreparedNetwork(exported, exported)), IMAGES, TARGETS)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("gradient_fn", [deconvnet, guided])
def test_deconvnet_and_guided_backprop_refuse_a_network_without_relus(gradient_fn: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with opened(network) as classifier, pytest.raises(ValueError, match="no ReLU"):
        gradient_fn(classifier, IMAGES, TARGETS)
