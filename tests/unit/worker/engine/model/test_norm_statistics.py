"""The statistics of batch norms, and the layers that have them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import Small, seeded, with_statistics
from worker.engine.model.classifier import Classifier, open_classifier
from worker.engine.model.folding import fold_batch_norms
from worker.engine.model.norm_statistics import NormStatistics, choose_small, find_norm_statistics
from worker.engine.model.prepare import PreparedNetwork


class NormAndActivation(nn.BatchNorm2d):
    """A batch norm as timm has it: with an activation after the normalization."""

    def __init__(self, channels: int, first: nn.Module) -> None:
        super().__init__(channels)
        self.drop, self.act = first, nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


class Network(nn.Module):
    """A network of one convolution and one norm; another norm is never called."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm, self.unused = nn.Conv2d(3, 4, 3), norm, nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.layer(x)).mean((2, 3)))


@contextmanager
def opened(network: nn.Module) -> Iterator[Classifier]:
    folded = fold_batch_norms(network.eval())
    prepared = PreparedNetwork(folded.network, network, folded.layers) if folded else network
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (16, 16), "device": torch.device("cpu")}
    with open_classifier(prepared, **options) as classifier:
        yield classifier


@pytest.mark.parametrize(
    ("norm", "layer"),
    [(nn.BatchNorm2d(4), "norm"), (NormAndActivation(4, nn.Identity()), "norm.drop")],
)
def test_normalized_features_have_the_statistics_of_gamma_and_beta(norm: nn.Module, layer: str) -> None:
    network = with_statistics(seeded(Network, norm=norm))
    network.norm.weight.data *= torch.tensor([1, -1, 1, 1])
    with opened(network) as classifier:
        (found,) = find_norm_statistics(classifier)
        assert found.layer == layer
        assert torch.equal(found.mean, network.norm.bias)
        assert torch.equal(found.std, network.norm.weight.abs())
        # The named layer has the outputs of the normalization, in the folded network, too.
        inputs = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        outputs = classifier.forward(inputs, [layer]).activations[layer]
        expected = nn.BatchNorm2d.forward(network.norm, network.layer(inputs))
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


def test_channels_without_deviation_have_a_smallest_one() -> None:
    network = with_statistics(seeded(Network, norm=nn.BatchNorm2d(4)))
    network.norm.weight.data = torch.tensor([0.0, 1.0, 2.0, 4.0])
    with opened(network) as classifier:
        (found,) = find_norm_statistics(classifier)
        assert found.std.tolist() == pytest.approx([0.1, 1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4), NormAndActivation(4, nn.ReLU())]
)
def test_norms_without_statistics_or_without_a_layer_of_their_own_are_left_out(norm: nn.Module) -> None:
    with opened(seeded(Network, norm=norm)) as classifier:
        assert find_norm_statistics(classifier) == ()


def test_a_network_without_affine_parameters_has_standard_statistics() -> None:
    with opened(seeded(Network, norm=nn.BatchNorm2d(4, affine=False))) as classifier:
        (found,) = find_norm_statistics(classifier)
        assert found.mean.tolist() == [0.0] * 4
        assert found.std.tolist() == [1.0] * 4


def test_the_layers_of_a_network_are_in_the_order_of_its_modules() -> None:
    with opened(with_statistics(seeded(Small))) as classifier:
        assert [found.layer for found in find_norm_statistics(classifier)] == ["features.1"]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([60, 30, 10], ["1", "2"]),
        ([10, 30, 60], ["0", "1"]),
        ([50, 50], ["0"]),  # at least one
        ([5], ["0"]),
        ([100, 30, 30, 30, 10], ["1", "2", "4"]),
    ],
)
def test_the_norms_with_the_fewest_features_are_chosen(sizes: list[int], expected: list[str]) -> None:
    norms = [NormStatistics(str(number), torch.zeros(1), torch.ones(1), size) for number, size in enumerate(sizes)]
    assert [norm.layer for norm in choose_small(norms)] == expected


def test_sizes_are_those_of_the_outputs() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 5), nn.BatchNorm2d(2), nn.Flatten())
    with opened(with_statistics(nn.Sequential(network, nn.Linear(2 * 10 * 10, 3)))) as classifier:
        norms = find_norm_statistics(classifier)
        assert [(norm.layer, norm.size) for norm in norms] == [("0.1", 8 * 14 * 14), ("0.3", 2 * 10 * 10)]
        assert [norm.layer for norm in choose_small(norms)] == ["0.3"]


class Crops(nn.Module):
    """Runs its batch norm on four parts of each image, as one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.cat([half for part in x.chunk(2, 2) for half in part.chunk(2, 3)])
        return self.head(self.norm(parts).mean((2, 3)).view(4, len(x), 3).mean(0))


def test_a_norm_without_one_row_per_image_is_left_out() -> None:
    with opened(with_statistics(seeded(Crops))) as classifier:
        assert find_norm_statistics(classifier) == ()
