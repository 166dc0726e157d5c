"""What turns a gradient into a step. Every quantity is per slot."""

from dataclasses import dataclass, field, fields, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from worker.engine.rows import power, sum_rows


class Optimizer(Protocol):
    """The memory of an ascent; frozen, so that a step gives a new one."""

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """What to add to the parameters to climb, and the memory after.

        Args:
            gradient: (N, …), of what is maximised.
            rate: Step size per slot, (N, 1, …).
        """

    def take(self, rows: Tensor) -> Self:
        """The memory of some of the slots, by their rows (M,)."""

    def join(self, others: Self) -> Self:
        """The memory of both."""

    def rows(self) -> dict[str, Tensor]:
        """What is remembered, with a row per slot, by name."""

    def put(self, rows: dict[str, Tensor]) -> Self:
        """The same with other rows."""


@dataclass(frozen=True)
class Memory:
    """What optimisers remember: tensors with a row per slot, and numbers that are the same for all."""

    def take(self, rows: Tensor) -> Self:
        return self.put({name: values[rows] for name, values in self.rows().items()})

    def join(self, others: Self) -> Self:
        theirs = others.rows()
        return self.put({name: torch.cat([values, theirs[name]]) for name, values in self.rows().items()})

    def rows(self) -> dict[str, Tensor]:
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in held.items() if isinstance(value, Tensor)}

    def put(self, rows: dict[str, Tensor]) -> Self:
        return replace(self, **rows)


@dataclass(frozen=True)
class SGD(Memory):
    """Gradient ascent, with momentum if asked: v ← μv + g; a step is rate · v (as torch.optim.SGD)."""

    velocity: Tensor
    momentum: float = 0.0

    @classmethod
    def start(cls, parameters: Tensor, momentum: float = 0.0) -> Self:
        return cls(torch.zeros_like(parameters), momentum)

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        velocity = self.velocity * self.momentum + gradient if self.momentum else gradient
        return rate * velocity, replace(self, velocity=velocity)


@dataclass(frozen=True)
class Adam(Memory):
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
        return cls(zero, zero, _per_slot(parameters))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        mean = self.mean.lerp(gradient, 0.1)
        square = self.square.lerp(gradient.square(), 0.001)
        count = self.count + 1
        scale = (square / (1 - power(0.999, count))).sqrt_().add_(1e-8)
        return rate / (1 - power(0.9, count)) * mean / scale, replace(self, mean=mean, square=square, count=count)


@dataclass(frozen=True)
class NAdam(Memory):
    """Adam with Nesterov's look ahead (Dozat 2016), its momentum rising as torch.optim.NAdam has it (ψ = 0.004)."""

    mean: Tensor
    square: Tensor
    count: Tensor
    product: Tensor

    @classmethod
    def start(cls, parameters: Tensor) -> Self:
        zero, count = torch.zeros_like(parameters), _per_slot(parameters)
        return cls(zero, zero, count, torch.ones_like(count))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        mean = self.mean.lerp(gradient, 0.1)
        square = self.square.lerp(gradient.square(), 0.001)
        count = self.count + 1
        now, later = (0.9 * (1 - 0.5 * power(0.96, step * 0.004)) for step in (count, count + 1))
        product = self.product * now
        ahead = gradient * (1 - now) / (1 - product) + mean * later / (1 - product * later)
        scale = (square / (1 - power(0.999, count))).sqrt_().add_(1e-8)
        return rate * ahead / scale, replace(self, mean=mean, square=square, count=count, product=product)


@dataclass(frozen=True)
class RMSProp(Memory):
    """Gradients of length one, each value over its root mean square (keras-vis): decay 0.95, ε = 1e-7."""

    square: Tensor
    decay: float = field(default=0.95)

    @classmethod
    def start(cls, parameters: Tensor) -> Self:
        return cls(torch.zeros_like(parameters))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        length = sum_rows(gradient.square()).clamp_min(1e-12).sqrt()
        unit = gradient / length.view(_per_slot(gradient).shape)
        square = self.square.lerp(unit.square(), 1 - self.decay)
        return rate * unit / (square + 1e-7).sqrt(), replace(self, square=square)


@dataclass(frozen=True)
class Normalized(Memory):
    """Gradients whose mean magnitude is one (Mordvintsev et al. 2015, the code beside "Inceptionism")."""

    count: Tensor

    @classmethod
    def start(cls, parameters: Tensor) -> Self:
        return cls(_per_slot(parameters))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        magnitude = sum_rows(gradient.abs()) / gradient[0].numel()
        return rate * gradient / magnitude.clamp_min(1e-12).view(self.count.shape), self


def _per_slot(parameters: Tensor) -> Tensor:
    """A zero per slot, in the shape that multiplies the parameters: (N, 1, …)."""
    return parameters.new_zeros([len(parameters)] + [1] * (parameters.ndim - 1))
