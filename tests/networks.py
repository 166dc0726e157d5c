"""Small networks with the habits of large ones, for tests."""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional


class Small(nn.Module):
    """Two convolutions, batch norm and dropout; its tail is what the test says."""

    def __init__(self, tail: nn.Module | None = None, classes: int = 5, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.3),
            nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.classifier = nn.Conv2d(8, classes, 1)
        self.tail = tail or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.classifier(self.features(x))).mean((2, 3))


class Functional(nn.Module):
    """No module but its layers: everything else is a function or a method, some of them in place."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.last = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x), inplace=True).mean((2, 3)).relu()
        return torch.relu_(self.last(x)).softmax(1)


class Slow(nn.Module):
    """A network that takes a tenth of a second, so that a job can be caught at work."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.1)
        return self.layer(x).mean((2, 3))


def seeded(network_class: type[nn.Module], **arguments: object) -> nn.Module:
    """A network with the same random weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return network_class(**arguments)


def slow() -> nn.Module:
    return seeded(Slow)


def small(channels: int) -> nn.Module:
    """Three classes, from pictures of any channels."""
    return seeded(Small, classes=3, channels=channels)


class Greedy(Small):
    """Has no memory for a picture that is to be looked into."""

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise torch.OutOfMemoryError("out of memory, as always")
        return super().forward(x)


class Picky(Small):
    """Raises where it is asked for the second class: its gradient never comes."""

    def forward(self, x: Tensor) -> Tensor:
        return _Choosy.apply(super().forward(x))


class _Choosy(torch.autograd.Function):
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
