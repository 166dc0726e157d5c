"""A prepared network is the same function."""

import pytest
import torch
from torch import Tensor, nn

from tests.networks import Functional, Small, seeded
from worker.engine.prepare import fold_batch_norms, prepare
from worker.engine.torchvision_import import import_torchvision

CPU = torch.device("cpu")


def with_statistics(network: nn.Module) -> nn.Module:
    """Batch norms that have seen something: fresh ones change nothing, and would hide a mistake."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.weight, module.bias):
                values.data = torch.randn(values.shape, generator=generator) * 0.1 + 0.5
            module.running_var.data = torch.rand(module.running_var.shape, generator=generator) + 0.5
    return network.eval()


@pytest.mark.parametrize(
    ("name", "count"), [("resnet18", 20), ("googlenet", 57), ("mobilenet_v2", 52), ("vgg11_bn", 8)]
)
def test_batch_norms_of_torchvision_are_folded_and_the_scores_stay(name: str, count: int) -> None:
    builder = getattr(import_torchvision().models, name)
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = with_statistics(builder(**extra))
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    names = [name for name, _ in network.named_modules()]
    with torch.no_grad():
        before = network(inputs)
        assert fold_batch_norms(network) == count
        after = network(inputs)
    assert (after - before).abs().max() <= 1e-4 * before.abs().max()
    assert [name for name, _ in network.named_modules()] == names
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


class Shared(nn.Module):
    """One convolution that two batch norms read, and a batch norm after something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.one, self.two = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return (self.one(y) + self.two(y)).mean((2, 3))


class Branching(Shared):
    """Cannot be traced: what it does depends on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return self.one(self.layer(x)).mean((2, 3)) if x.sum() > 0 else self.two(x).mean((2, 3))


@pytest.mark.parametrize("kind", [Shared, Branching, Functional])
def test_what_cannot_be_folded_is_left_alone(kind: type[nn.Module]) -> None:
    network = with_statistics(seeded(kind))
    assert fold_batch_norms(network) == 0


def test_a_prepared_network_gives_the_same_scores() -> None:
    network = with_statistics(seeded(Small))
    inputs = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(prepare(seeded(Small), CPU)(inputs), seeded(Small).eval()(inputs))
        assert not torch.equal(network(inputs), seeded(Small).eval()(inputs))
