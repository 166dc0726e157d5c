"""A prepared network computes the same function as the original, or is the original."""

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import Small, seeded, with_statistics
from worker.engine.model import prepare as module
from worker.engine.model.classifier import open_classifier
from worker.engine.model.prepare import PreparedNetwork, prepare
from worker.engine.scores.detect import draw_images

CPU = torch.device("cpu")
SIZE = (16, 16)
INPUTS = draw_images(3, SIZE, CPU, 3)


def prepared(network: nn.Module) -> PreparedNetwork:
    return prepare(copy.deepcopy(network), CPU, INPUTS)


def test_a_prepared_network_gives_the_same_scores() -> None:
    network = with_statistics(seeded(Small))
    result = prepared(network)
    assert result.steps == ("folded", "channels_last")
    torch.testing.assert_close(result.network(INPUTS), network(INPUTS).detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.original(INPUTS), network(INPUTS).detach(), atol=1e-5, rtol=1e-4)


def test_a_named_layer_is_the_layer_of_the_original() -> None:
    network = with_statistics(seeded(Small))
    with open_classifier(prepared(network), mean=[0.0] * 3, std=[1.0] * 3, size=SIZE, device=CPU) as classifier:
        outputs = classifier.forward(INPUTS, ["features.0", "features.1"])
    convolution = network.features[0](INPUTS).detach()
    torch.testing.assert_close(outputs.activations["features.0"], convolution)
    torch.testing.assert_close(outputs.activations["features.1"], network.features[1](convolution).detach())


class Viewing(Small):
    """Uses `view` after a convolution, which the channels-last layout does not allow."""

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        return self.classifier(features.view(len(x), 128).view(len(x), 8, 4, 4)).mean((2, 3))


def test_a_network_that_views_its_features_keeps_its_layout() -> None:
    result = prepared(with_statistics(seeded(Viewing)))
    assert result.steps in ((), ("folded",))
    assert result.network.features[4].weight.is_contiguous()
    assert result.network(INPUTS).isfinite().all()


def test_a_network_that_folding_would_change_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fold_wrongly(network: nn.Module) -> object:
        folded = fold(network)
        folded.network.features[0].bias.data += 0.1
        return folded

    fold = module.fold_batch_norms
    network = with_statistics(seeded(Small))
    monkeypatch.setattr(module, "fold_batch_norms", fold_wrongly)
    result = prepared(network)
    assert result.steps == ("channels_last",)
    assert result.network is result.original


class Overwriting(Small):
    """Writes into its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.5).div_(0.25))


def test_a_network_that_writes_into_its_input_works_for_any_number_of_images() -> None:
    images = torch.rand(3, 3, *SIZE)
    expected = seeded(Small).eval()((images - 0.5) / 0.25).detach()
    with open_classifier(
        prepared(seeded(Overwriting).eval()), mean=[0.0] * 3, std=[1.0] * 3, size=SIZE, device=CPU
    ) as classifier:
        for count in (1, 3):
            inputs = images[:count].clone().requires_grad_()
            scores = classifier.scores(inputs)
            torch.autograd.grad(scores.sum(), inputs)
            torch.testing.assert_close(scores.detach(), expected[:count])
            assert torch.equal(inputs.detach(), images[:count])


def test_a_network_that_fails_is_left_as_it_is() -> None:
    network = nn.Linear(3, 2)
    assert prepare(network, CPU, INPUTS) == PreparedNetwork(network, network)


@pytest.mark.parametrize("value", [torch.ones(2), [torch.ones(2)], {"mean": (torch.ones(2), 3)}])
def test_tensors_in_plain_attributes_move_with_the_network(value: object) -> None:
    network = nn.Identity()
    network.value = value
    module.move_tensors(network, torch.device("meta"))
    moved = network.value
    tensor = moved if isinstance(moved, Tensor) else moved[0] if isinstance(moved, list) else moved["mean"][0]
    assert tensor.device.type == "meta"
