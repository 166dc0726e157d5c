"""Outputs of layers are collected as they were, whatever the network does with them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from worker.engine.model.watch import check_rows, watch


class Overwriting(nn.Module):
    """Changes the output of a layer in place, or the tensor of which it is a view."""

    def __init__(self, layer: nn.Module, change: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.layer, self.change = layer, change

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        y = self.layer(x)
        self.change(x, y)
        return y.flatten(1)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Identity(), nn.ReLU()])
@pytest.mark.parametrize("change", [lambda _, y: y.add_(5), lambda x, _: x.zero_(), lambda _, y: y.relu_()])
def test_outputs_that_the_network_overwrites_are_collected_as_they_were(layer, change) -> None:
    network, images = Overwriting(layer, change), torch.randn(2, 3, 4, 4)
    with watch(network, ["layer"]) as activations, torch.no_grad():
        network(images)
        torch.testing.assert_close(activations["layer"], layer(images))


def test_scores_have_a_gradient_with_respect_to_a_collected_output_on_their_path() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    with watch(network, ["0"], on_path=True) as activations:
        output = network(torch.randn(2, 3, 4, 4))
    (gradient,) = torch.autograd.grad(output.sum(), activations["0"])
    assert torch.equal(gradient, (activations["0"] > 0).float())
    assert not network[0]._forward_hooks


def test_layers_that_give_no_row_per_image_are_named() -> None:
    with pytest.raises(ValueError, match="no layer 'other'"), watch(nn.ReLU(), ["other"]):
        pass
    with pytest.raises(ValueError, match="'silent' does not run"):
        check_rows({}, ["silent"], 2)
    with pytest.raises(ValueError, match="not one row per image"):
        check_rows({"sum": torch.zeros(3, 2)}, ["sum"], 2)


def test_a_network_that_uses_an_output_under_two_names_runs_as_without_the_watch() -> None:
    class Aliased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.drop = nn.Conv2d(3, 4, 1), nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            kept = self.drop(hidden)  # the same tensor
            hidden.relu_()
            return kept.mean((2, 3))

    network, images = Aliased().eval(), torch.randn(2, 3, 4, 4)
    with watch(network, ["drop"]) as activations, torch.no_grad():
        torch.testing.assert_close(network(images), network.first(images).relu().mean((2, 3)))
        torch.testing.assert_close(activations["drop"], network.first(images))
