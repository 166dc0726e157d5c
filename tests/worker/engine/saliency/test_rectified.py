"""DeconvNet and guided backpropagation: Captum's where it is right, else a loop over layers with masks written out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.attributions import PICTURES, TARGETS, assert_equals_captum, opened
from tests.networks import seeded
from worker.engine.saliency.rectified import deconvnet, guided


class Chain(nn.Module):
    """Convolution, ReLU, pooling, convolution, ReLU, scores; its ReLUs in whatever form."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 5)
        self.one, self.two = nn.ReLU(), nn.ReLU()

    def relu(self, x: Tensor, place: int) -> Tensor:
        return (self.one, self.two)[place](x)

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
        return self.one(x)


def walk_back(network: Chain, inputs: Tensor, targets: Tensor, *, only_open: bool) -> Tensor:
    """The signal at the picture, layer by layer, with the masks of the paper's section 4."""
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
@pytest.mark.parametrize(("slope", "method", "only_open"), METHODS)
def test_with_modules_it_equals_captums(slope: Any, method: str, only_open: bool) -> None:
    assert_equals_captum(slope, method, seeded(Chain).eval(), PICTURES, TARGETS)


@pytest.mark.parametrize(("slope", "method", "only_open"), METHODS)
@pytest.mark.parametrize("form", [Chain, Functional, InPlace, Reused])
def test_it_is_the_papers_account_whatever_form_relus_have(
    form: type[Chain],
    slope: Any,
    method: str,
    only_open: bool,
) -> None:
    network = seeded(form).eval()
    with opened(network) as classifier, torch.no_grad():
        expected = walk_back(network, PICTURES, TARGETS, only_open=only_open)
    with opened(network) as classifier:
        found = slope(classifier, PICTURES, TARGETS)
    assert found.abs().max() > 0
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("slope", [deconvnet, guided])
def test_an_exported_graph_is_understood(slope: Any) -> None:
    network = seeded(Functional).eval()
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(network, (PICTURES,), dynamic_shapes=[{0: batch}]).module()
    with opened(network) as classifier:
        expected = slope(classifier, PICTURES, TARGETS)
        found = slope(classifier.__class__(**{**vars(classifier), "network": exported}), PICTURES, TARGETS)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("slope", [deconvnet, guided])
def test_a_network_without_relus_is_refused(slope: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with opened(network) as classifier, pytest.raises(ValueError, match="no ReLU"):
        slope(classifier, PICTURES, TARGETS)
