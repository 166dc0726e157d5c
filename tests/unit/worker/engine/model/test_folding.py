"""Batch norms are folded only where nothing else reads what is folded."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from tests.support.families import build_torchvision
from tests.support.networks import Functional, Small, seeded, with_statistics
from worker.engine.model.folding import fold_batch_norms
from worker.engine.model.torchvision_import import import_torchvision


@pytest.mark.parametrize(
    ("name", "count"), [("resnet18", 20), ("googlenet", 57), ("mobilenet_v2", 52), ("vgg11_bn", 8)]
)
def test_batch_norms_of_torchvision_are_folded_without_changing_the_scores(name: str, count: int) -> None:
    network = with_statistics(build_torchvision(name, 64))
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    names = [name for name, _ in network.named_modules()]
    before = network(inputs).detach()
    folded = fold_batch_norms(network)
    assert folded is not None
    assert len(folded.layers) == count
    after = folded.network(inputs).detach()
    assert (after - before).abs().max() <= 1e-4 * before.abs().max()
    assert [name for name, _ in folded.network.named_modules()] == names
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.network.modules())
    assert torch.equal(network(inputs), before)  # the original is unchanged


class SamePadding(nn.Conv2d):
    """A convolution that pads its inputs itself."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(x, (0, 1, 0, 1)), self.weight, self.bias)


class Standardized(nn.Conv2d):
    """A convolution that computes with another weight than its own (Qiao et al. 2019, arXiv 1903.10520)."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight / self.weight.norm(), self.bias)


class NormAndActivation(nn.BatchNorm2d):
    """A batch norm that ends in an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


class NormAndScale(NormAndActivation):
    """A batch norm that does something after it that none of its modules does."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("convolution", "norm", "expected"),
    [
        (SamePadding, nn.BatchNorm2d, True),
        (nn.Conv2d, NormAndActivation, True),
        (SamePadding, NormAndActivation, True),
        (Standardized, nn.BatchNorm2d, False),
        (nn.Conv2d, NormAndScale, False),
    ],
)
def test_subclasses_are_folded_if_they_compute_the_same(convolution, norm, expected) -> None:
    network = with_statistics(nn.Sequential(convolution(3, 4, 2), norm(4), nn.Flatten(1), nn.LazyLinear(2)))
    inputs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    before, names = network(inputs).detach(), [name for name, _ in network.named_modules()]
    folded = fold_batch_norms(network)
    assert (folded is not None) is expected
    if folded is not None:
        assert torch.allclose(folded.network(inputs), before, atol=1e-5)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.network.modules())
        assert [name for name, _ in folded.network.named_modules()] == names


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [("mobilenetv2_100", {"pad_type": "same"}, 52), ("resnet18", {}, 20), ("regnetx_002", {}, 44)],
)
def test_batch_norms_of_timm_are_folded_without_changing_the_scores(name: str, arguments: dict, count: int) -> None:
    import_torchvision()
    timm = pytest.importorskip("timm")
    network = with_statistics(timm.create_model(name, num_classes=10, **arguments))
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    before = network(inputs).detach()
    folded = fold_batch_norms(network)
    assert folded is not None
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == count
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.network.modules())
    assert (folded.network(inputs) - before).abs().max() <= 1e-4 * before.abs().max()


def test_weights_that_are_not_folded_are_shared() -> None:
    network = with_statistics(seeded(Small))
    folded = fold_batch_norms(network)
    assert folded is not None
    assert folded.layers == {"features.0"}
    assert folded.network.classifier.weight is network.classifier.weight
    assert folded.network.features[0].weight is not network.features[0].weight


class Pair(nn.Module):
    """A convolution and a batch norm, and something that reads one of them."""

    def __init__(self, change: Callable[["Pair"], None], reads: Callable[["Pair", Tensor], object]) -> None:
        super().__init__()
        self.layer, self.norm, self.other = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.reads = reads
        change(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x)).mean((2, 3)) + self.reads(self, x)


def nothing(*_: object) -> float:
    return 0.0


def share_the_weight(network: Pair) -> None:
    network.twin = nn.Conv2d(3, 3, 1)
    network.twin.weight = network.layer.weight


@pytest.mark.parametrize(
    ("change", "reads"),
    [
        (lambda net: net.layer.register_forward_hook(lambda *_: None), nothing),
        (lambda net: net.layer.register_forward_pre_hook(lambda *_: None), nothing),
        (lambda net: net.norm.register_full_backward_hook(lambda *_: None), nothing),
        (lambda net: parametrizations.weight_norm(net.layer), nothing),
        (lambda net: parametrizations.spectral_norm(net.layer), nothing),
        (lambda net: prune.l1_unstructured(net.layer, "weight", amount=0.5), nothing),
        (lambda net: prune.l1_unstructured(net.norm, "weight", amount=0.5), nothing),
        (lambda net: setattr(net, "alias", net.layer), nothing),
        (share_the_weight, nothing),
        (nothing, lambda net, x: net.norm(x).mean((2, 3))),
        (nothing, lambda net, x: net.layer(x).mean((2, 3))),
        (nothing, lambda net, x: functional.conv2d(x, net.layer.weight).mean((2, 3))),
        (nothing, lambda net, _: net.norm.weight),
        (nothing, lambda net, _: net.norm.running_mean.sum()),
    ],
)
def test_a_batch_norm_of_which_something_is_read_elsewhere_is_not_folded(change, reads) -> None:
    assert fold_batch_norms(with_statistics(Pair(change, reads))) is None
    assert fold_batch_norms(with_statistics(Pair(nothing, nothing))) is not None


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_a_convolution_whose_weight_is_computed_by_a_hook_is_not_folded(norm) -> None:
    network = Pair(lambda net: norm(net.layer), nothing)
    assert fold_batch_norms(network.eval()) is None


class Branching(nn.Module):
    """Cannot be traced: its control flow depends on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x)).mean((2, 3)) if x.sum() > 0 else x.mean((2, 3))


def test_a_batch_norm_without_statistics_is_not_folded() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    assert fold_batch_norms(network) is None


@pytest.mark.parametrize("kind", [Branching, Functional])
def test_a_network_without_batch_norms_or_without_a_trace_is_left_alone(kind: type[nn.Module]) -> None:
    assert fold_batch_norms(seeded(kind).eval()) is None


class Nested(nn.Module):
    """A block whose last convolution is folded with a batch norm behind the block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 1)))
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.stem(x)).mean((2, 3))


def test_a_block_that_ends_in_a_folded_convolution_is_one_of_the_changed_layers() -> None:
    folded = fold_batch_norms(with_statistics(seeded(Nested)))
    assert folded is not None
    assert folded.layers == {"stem", "stem.2", "stem.2.0"}
