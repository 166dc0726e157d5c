"""Small networks for tests, with the building blocks of large ones or with a fault."""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional


class Small(nn.Module):
    """Two convolutions, batch norm and dropout; a test can set the output activation."""

    def __init__(self, tail: nn.Module | None = None, classes: int = 5, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Conv2d(8, 8, 3, 2, 1),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Conv2d(8, classes, 1)
        self.tail = tail or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.classifier(self.features(x))).mean((2, 3))


class Functional(nn.Module):
    """A network whose activations are functions and methods instead of modules, some of them in place."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.last = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x), inplace=True).mean((2, 3)).relu()
        return torch.relu_(self.last(x)).softmax(1)


class Slow(nn.Module):
    """A network whose forward pass takes a tenth of a second, so that a test can observe a running job."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.1)
        return self.layer(x).mean((2, 3))


def seeded(network_class: type[nn.Module], **arguments: object) -> nn.Module:
    """Returns a network with random weights that are the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return network_class(**arguments)


def with_statistics(network: nn.Module) -> nn.Module:
    """Gives batch norms random statistics: those of a new one are the identity, and would hide a mistake."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.weight, module.bias):
                values.data = torch.randn(values.shape, generator=generator) * 0.1 + 0.5
            module.running_var.data = torch.rand(module.running_var.shape, generator=generator) + 0.5
    return network.eval()


def slow() -> nn.Module:
    return seeded(Slow)


def small(channels: int) -> nn.Module:
    """Returns a network of three classes for images with any number of channels."""
    return seeded(Small, classes=3, channels=channels)


class Dark(Small):
    """Gives no finite score for a black image, if black is −2 in the network's inputs."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (x.mean((1, 2, 3)) + 2).log()[:, None]


def dark() -> nn.Module:
    return seeded(Dark, classes=3)


class Greedy(Small):
    """Raises `OutOfMemoryError` in a forward pass whose input needs a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise torch.OutOfMemoryError("out of memory, as always")
        return super().forward(x)


class Picky(Small):
    """Raises an error in the backward pass of the second class."""

    def forward(self, x: Tensor) -> Tensor:
        return _FailForSecondClass.apply(super().forward(x))


class _FailForSecondClass(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, scores: Tensor) -> Tensor:
        return scores.clone()

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        if gradient[:, 1].any():
            raise ArithmeticError("this network does not like this picture")
        return gradient


def greedy() -> nn.Module:
    return seeded(Greedy, classes=3)


def picky() -> nn.Module:
    return seeded(Picky, classes=3)
