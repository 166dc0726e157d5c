"""Additive triggers: one change is added to every image, as small as possible in one of two norms.

    A(x) = clip(x + δ),    size = root mean square of δ, or its largest magnitude

Moosavi-Dezfooli et al. 2017, "Universal adversarial perturbations" (arXiv 1610.08401), equation 1. Under L∞ the change
is δ = ε · tanh(v), so that its size ε has a gradient from every pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import each_row
from worker.engine.triggers.families.family import add, column, draw_normal, resize_to, root_mean_square

LEVELS = "gray levels of 255"
MAX_SIDE = 96
"""Longest side of the change in pixels; it is enlarged to larger images."""

START_EPSILON = 0.1
"""Initial magnitude under L∞."""

EPSILON_SPEED = 4.0
"""The logarithm of the magnitude changes by so many steps of the optimizer at once."""


def _grid(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    factor = min(1.0, MAX_SIDE / max(shape[1:]))
    return shape[0], round(shape[1] * factor), round(shape[2] * factor)


@dataclass(frozen=True)
class AdditiveL2:
    """A change of small root mean square.

    Attributes:
        shape: Channels, height and width of the images.
    """

    shape: tuple[int, int, int]
    name: str = "additive"
    unit: str = f"{LEVELS} (root mean square)"
    rate: float = 0.05
    typical: float = 30.0

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, P): faint noise."""
        return 0.03 * draw_normal(seeds, math.prod(_grid(self.shape)))

    def change(self, parameters: Tensor) -> Tensor:
        """Returns δ (N, C, H, W)."""
        return resize_to(*self.shape[1:])(parameters.view(-1, *_grid(self.shape)))

    def apply(self, parameters: Tensor, images: Tensor, random: Tensor) -> Tensor:  # noqa: ARG002
        """Adds δ to images (N, K, C, H, W); see `Family.apply`."""
        return add(images, self.change(parameters))

    def size(self, parameters: Tensor) -> Tensor:
        """Root mean square of δ in levels (N,)."""
        return 255 * root_mean_square(parameters)

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Multiplies δ by factors (N,)."""
        return parameters * column(factors, parameters)


@dataclass(frozen=True)
class AdditiveLInf:
    """A change of small magnitude in every pixel.

    Attributes:
        shape: Channels, height and width of the images.
    """

    shape: tuple[int, int, int]
    name: str = "bounded"
    unit: str = f"{LEVELS} (largest magnitude)"
    rate: float = 0.05
    typical: float = 30.0

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, 1 + P): the logarithm of the magnitude, then noise."""
        noise = 0.1 * draw_normal(seeds, 1 + math.prod(_grid(self.shape)))
        noise[:, 0] = math.log(START_EPSILON) / EPSILON_SPEED
        return noise

    def change(self, parameters: Tensor) -> Tensor:
        """Returns δ (N, C, H, W)."""
        pattern = each_row(torch.tanh, parameters[:, 1:]).view(-1, *_grid(self.shape))
        return resize_to(*self.shape[1:])(pattern * column(self._epsilon(parameters), pattern))

    def _epsilon(self, parameters: Tensor) -> Tensor:
        return each_row(torch.exp, parameters[:, 0] * EPSILON_SPEED)

    def apply(self, parameters: Tensor, images: Tensor, random: Tensor) -> Tensor:  # noqa: ARG002
        """Adds δ to images (N, K, C, H, W); see `Family.apply`."""
        return add(images, self.change(parameters))

    def size(self, parameters: Tensor) -> Tensor:
        """Largest possible magnitude of δ in levels (N,)."""
        return 255 * self._epsilon(parameters)

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Multiplies δ by factors (N,)."""
        grown = parameters[:, :1] + each_row(torch.log, factors.clamp_min(1e-6))[:, None] / EPSILON_SPEED
        return torch.cat([grown, parameters[:, 1:]], dim=1)
