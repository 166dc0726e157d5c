"""The penultimate features, weighted by the last layer, give the scores."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import Functional, Small, seeded
from worker.engine.model.classifier import Classifier, open_classifier
from worker.engine.model.last_layer import extract_features, find_last_layer

IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@contextmanager
def opened(network: nn.Module) -> Iterator[Classifier]:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (16, 16), "device": torch.device("cpu")}
    with open_classifier(network, **options) as classifier:
        yield classifier


@pytest.mark.parametrize(("kind", "name"), [(Small, "classifier")])
@pytest.mark.parametrize("count", [1, 3])
def test_features_times_weights_are_the_scores(kind: type[nn.Module], name: str, count: int) -> None:
    network = seeded(kind)
    with opened(network) as classifier:
        layer = find_last_layer(classifier)
        assert layer is not None
        assert layer.name == name
        features, scores = extract_features(classifier, layer, classifier.normalize(IMAGES[:count]))
    bias = network.get_submodule(name).bias
    assert features.shape == (count, layer.weights.shape[1])
    assert torch.allclose(features @ layer.weights.T + bias, scores, atol=1e-5)
    assert not network.get_submodule(name)._forward_pre_hooks


def test_a_network_without_a_linear_end_has_no_last_layer() -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    with opened(Plain()) as classifier:
        assert find_last_layer(classifier) is None


def test_a_layer_that_sees_all_images_at_once_is_refused() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x.mean((0, 2, 3), keepdim=True)[:, :, 0, 0]).expand(len(x), -1)

    with opened(Mixed()) as classifier:
        layer = find_last_layer(classifier)
        assert layer is not None
        with pytest.raises(ValueError, match="instead of one row of features per image"):
            extract_features(classifier, layer, classifier.normalize(IMAGES))


def test_functions_after_the_last_layer_do_not_matter() -> None:
    with opened(seeded(Functional)) as classifier:
        layer = find_last_layer(classifier)
    assert layer is not None
    assert layer.name == "last"
