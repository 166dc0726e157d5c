"""What turns a gradient into a step. Every quantity is per slot."""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor


class Optimizer(Protocol):
    """The memory of an ascent; frozen, so that a step gives a new one."""

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """What to add to the parameters to climb, and the memory after.

        Args:
            gradient: (N, …), of what is maximised.
            rate: Step size per slot, (N, 1, …).
        """


@dataclass(frozen=True)
class SGD:
    """Plain gradient ascent."""

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        return rate * gradient, self


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba 2014 (arXiv 1412.6980, algorithm 1), β₁ = 0.9, β₂ = 0.999, ε = 1e-8.

    Attributes:
        mean: First moment (N, …).
        square: Second raw moment (N, …).
        count: Steps taken per slot (N, 1, …).
    """

    mean: Tensor
    square: Tensor
    count: Tensor

    @classmethod
    def start(cls, parameters: Tensor) -> Self:
        zero = torch.zeros_like(parameters)
        return cls(zero, zero, parameters.new_zeros([len(parameters)] + [1] * (parameters.ndim - 1)))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        mean = self.mean.lerp(gradient, 0.1)
        square = self.square.lerp(gradient.square(), 0.001)
        count = self.count + 1
        unbiased = mean / (1 - 0.9**count)
        scale = (square / (1 - 0.999**count)).sqrt_().add_(1e-8)
        return rate * unbiased / scale, type(self)(mean, square, count)
