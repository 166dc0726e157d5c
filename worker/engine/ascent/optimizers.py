"""Optimizers: how a gradient becomes a step. All of their state and arithmetic is per slot."""

from dataclasses import dataclass, field, fields, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import power, sum_rows


class Optimizer(Protocol):
    """An optimizer with its state; frozen, so that a step returns a new one."""

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """Computes a step that increases the objective.

        Args:
            gradient: Gradient of the objective (N, …).
            rate: Step size of each slot (N, 1, …).

        Returns:
            The change of the parameters (N, …), and the optimizer after the step.
        """

    def take(self, rows: Tensor) -> Self:
        """Returns the optimizer of some slots, given their rows (M,)."""

    def join(self, others: Self) -> Self:
        """Returns the optimizer of these slots and, after them, those of another optimizer."""

    def rows(self) -> dict[str, Tensor]:
        """Returns the state by name; every tensor has one row per slot (N, …)."""

    def put(self, rows: dict[str, Tensor]) -> Self:
        """Returns the optimizer with another state: tensors (N, …), as `rows` returns them."""


@dataclass(frozen=True)
class PerSlotState:
    """Base of the optimizers: fields that are tensors have one row per slot, other fields are shared settings."""

    def take(self, rows: Tensor) -> Self:
        """Returns the optimizer of some slots, given their rows (M,)."""
        return self.put({name: values[rows] for name, values in self.rows().items()})

    def join(self, others: Self) -> Self:
        """Returns the optimizer of these slots and, after them, those of another optimizer."""
        theirs = others.rows()
        return self.put({name: torch.cat([values, theirs[name]]) for name, values in self.rows().items()})

    def rows(self) -> dict[str, Tensor]:
        """Returns the state by name; every tensor has one row per slot (N, …)."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def put(self, rows: dict[str, Tensor]) -> Self:
        """Returns the optimizer with another state: tensors (N, …), as `rows` returns them."""
        return replace(self, **rows)


@dataclass(frozen=True)
class SGD(PerSlotState):
    """Gradient ascent with momentum, as torch.optim.SGD: v ← μv + g; a step is rate · v.

    Attributes:
        velocity: v (N, …).
        momentum: μ; 0 for plain gradient ascent.
    """

    velocity: Tensor
    momentum: float = 0.0

    @classmethod
    def start(cls, parameters: Tensor, momentum: float = 0.0) -> Self:
        """Returns the initial state for parameters (N, …)."""
        return cls(torch.zeros_like(parameters), momentum)

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """Computes the step (N, …) for a gradient (N, …); see `Optimizer.step`."""
        velocity = self.velocity * self.momentum + gradient if self.momentum else gradient
        return rate * velocity, replace(self, velocity=velocity)


@dataclass(frozen=True)
class Adam(PerSlotState):
    """Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1) with β₁ = 0.9, β₂ = 0.999, ε = 1e-8.

    Attributes:
        mean: First moment (N, …).
        square: Second raw moment (N, …).
        count: Steps taken by each slot (N, 1, …).
    """

    mean: Tensor
    square: Tensor
    count: Tensor

    @classmethod
    def start(cls, parameters: Tensor) -> Self:
        """Returns the initial state for parameters (N, …)."""
        zero = torch.zeros_like(parameters)
        return cls(zero, zero, _per_slot(parameters))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """Computes the step (N, …) for a gradient (N, …); see `Optimizer.step`."""
        mean = self.mean.lerp(gradient, 0.1)
        square = self.square.lerp(gradient.square(), 0.001)
        count = self.count + 1
        scale = (square / (1 - power(0.999, count))).sqrt_().add_(1e-8)
        return rate / (1 - power(0.9, count)) * mean / scale, replace(self, mean=mean, square=square, count=count)


@dataclass(frozen=True)
class NAdam(PerSlotState):
    """Adam with Nesterov momentum (Dozat 2016), with torch.optim.NAdam's momentum schedule (ψ = 0.004).

    Attributes:
        mean: First moment (N, …).
        square: Second raw moment (N, …).
        count: Steps taken by each slot (N, 1, …).
        product: Product of the momenta so far (N, 1, …).
    """

    mean: Tensor
    square: Tensor
    count: Tensor
    product: Tensor

    @classmethod
    def start(cls, parameters: Tensor) -> Self:
        """Returns the initial state for parameters (N, …)."""
        zero, count = torch.zeros_like(parameters), _per_slot(parameters)
        return cls(zero, zero, count, torch.ones_like(count))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """Computes the step (N, …) for a gradient (N, …); see `Optimizer.step`."""
        mean = self.mean.lerp(gradient, 0.1)
        square = self.square.lerp(gradient.square(), 0.001)
        count = self.count + 1
        momentum, next_momentum = (0.9 * (1 - 0.5 * power(0.96, step * 0.004)) for step in (count, count + 1))
        product = self.product * momentum
        ahead = gradient * (1 - momentum) / (1 - product) + mean * next_momentum / (1 - product * next_momentum)
        scale = (square / (1 - power(0.999, count))).sqrt_().add_(1e-8)
        return rate * ahead / scale, replace(self, mean=mean, square=square, count=count, product=product)


@dataclass(frozen=True)
class RMSProp(PerSlotState):
    """RMSProp on gradients of length one, as keras-vis: decay 0.95, ε = 1e-7.

    Attributes:
        square: Moving average of the squared gradient (N, …).
        decay: Factor of the average per step.
    """

    square: Tensor
    decay: float = field(default=0.95)

    @classmethod
    def start(cls, parameters: Tensor) -> Self:
        """Returns the initial state for parameters (N, …)."""
        return cls(torch.zeros_like(parameters))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """Computes the step (N, …) for a gradient (N, …); see `Optimizer.step`."""
        length = sum_rows(gradient.square()).clamp_min(1e-12).sqrt()  # (N,)
        unit = gradient / length.view(_per_slot(gradient).shape)
        square = self.square.lerp(unit.square(), 1 - self.decay)
        return rate * unit / (square + 1e-7).sqrt(), replace(self, square=square)


@dataclass(frozen=True)
class Normalized(PerSlotState):
    """Gradient ascent on gradients whose mean magnitude is one (Mordvintsev et al. 2015, DeepDream's notebook).

    Attributes:
        count: Zeros (N, 1, …); they only carry the number of slots.
    """

    count: Tensor

    @classmethod
    def start(cls, parameters: Tensor) -> Self:
        """Returns the initial state for parameters (N, …)."""
        return cls(_per_slot(parameters))

    def step(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """Computes the step (N, …) for a gradient (N, …); see `Optimizer.step`."""
        magnitude = sum_rows(gradient.abs()) / gradient[0].numel()  # (N,)
        return rate * gradient / magnitude.clamp_min(1e-12).view(self.count.shape), self


def _per_slot(parameters: Tensor) -> Tensor:
    """A zero for each slot, in the shape that broadcasts to the parameters: (N, 1, …)."""
    return parameters.new_zeros([len(parameters)] + [1] * (parameters.ndim - 1))
