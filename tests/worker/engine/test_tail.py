"""What a network does to its scores after it has computed them is found, however it is written."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.networks import Functional, Small, seeded
from worker.engine.classifier import open_classifier, read_scores
from worker.engine.tail import Tail, find_tail

PICTURES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16)


def test_activations_inside_the_network_are_no_tail() -> None:
    assert find_tail(seeded(Small).eval(), PICTURES) == Tail()


@pytest.mark.parametrize("tail", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6()])
def test_a_final_relu_is_found(tail: nn.Module) -> None:
    assert find_tail(seeded(Small, tail=tail).eval(), PICTURES) == Tail(clamps=frozenset({2}))


def test_functions_methods_and_in_place_forms_are_found_too() -> None:
    assert find_tail(seeded(Functional).eval(), PICTURES) == Tail(frozenset({2}), frozenset({3}))


def test_scores_before_the_tail_are_what_the_last_layer_gave() -> None:
    network = seeded(Functional).eval()
    with open_classifier(
        network, mean=[0.0] * 3, std=[1.0] * 3, size=(16, 16), device=torch.device("cpu")
    ) as classifier:
        cells = functional.relu(network.first(PICTURES)).mean((2, 3))
        torch.testing.assert_close(classifier.look(PICTURES).scores, network.last(cells))
        torch.testing.assert_close(classifier.scores(PICTURES), functional.relu(network.last(cells)))


@pytest.mark.parametrize(
    "wrap", [lambda s: (s, s * 2), lambda s: {"logits": s}, lambda s: [s], lambda s: s[:, :, None, None]]
)
def test_scores_are_read_from_whatever_a_network_returns(wrap) -> None:
    scores = torch.randn(2, 4)
    assert torch.equal(read_scores(wrap(scores)), scores)


@pytest.mark.parametrize("output", [None, torch.zeros(4), {}, (), torch.zeros(2, 4, 3, 3)])
def test_what_holds_no_scores_is_refused(output: object) -> None:
    with pytest.raises(ValueError, match=r"scores|classes"):
        read_scores(output)


def test_a_gate_before_the_last_layer_is_no_tail() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            pooled = x.mean((2, 3))
            return self.last(pooled * torch.sigmoid(pooled))

    assert find_tail(Gated(), PICTURES) == Tail()


def test_scores_of_a_named_layer_are_read_there() -> None:
    network = seeded(Small, tail=nn.Softmax(1)).eval()
    with open_classifier(
        network, mean=[0.0] * 3, std=[1.0] * 3, size=(16, 16), device=torch.device("cpu"), score_layer="classifier"
    ) as classifier:
        maps = network.classifier(network.features(PICTURES))
        torch.testing.assert_close(classifier.look(PICTURES).scores, maps.mean((2, 3)))
