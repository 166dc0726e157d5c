"""Constraints: projections that bring images back into an allowed set after each step; and rounding to 8 bits."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import sum_rows

Constraint = Callable[[Tensor, Tensor], Tensor]
"""Projects images (N, C, H, W), given their origins (N, C, H, W) in 0..1: to images (N, C, H, W)."""


def clip(images: Tensor, origins: Tensor) -> Tensor:  # noqa: ARG001
    """Clips images (N, C, H, W) to 0..1; the origins have no effect."""
    return images.clamp(0, 1)


@dataclass(frozen=True)
class LInf:
    """Limits the change of each value: ‖I − I₀‖_∞ ≤ radius (Goodfellow et al. 2014, arXiv 1412.6572).

    Attributes:
        radius: In units of images in 0..1.
    """

    radius: float

    def __call__(self, images: Tensor, origins: Tensor) -> Tensor:
        """Projects images (N, C, H, W) around origins (N, C, H, W): to images (N, C, H, W)."""
        return torch.minimum(torch.maximum(images, origins - self.radius), origins + self.radius)


@dataclass(frozen=True)
class L2:
    """Limits the Euclidean norm of the change of each image: ‖I − I₀‖₂ ≤ radius.

    Attributes:
        radius: In units of images in 0..1.
    """

    radius: float

    def __call__(self, images: Tensor, origins: Tensor) -> Tensor:
        """Projects images (N, C, H, W) around origins (N, C, H, W): to images (N, C, H, W)."""
        change = images - origins
        length = sum_rows(change.square()).clamp_min(1e-30).sqrt()  # (N,)
        return origins + change * (self.radius / length).clamp_max(1)[:, None, None, None]


def round_to_8_bits(images: Tensor) -> Tensor:
    """Clips images (N, C, H, W) to 0..1 and rounds them to multiples of 1/255."""
    return images.clamp(0, 1).mul(255).round() / 255


def round_toward(images: Tensor, origins: Tensor) -> Tensor:
    """Rounds images to multiples of 1/255 toward their origins, so that their distance does not grow.

    Args:
        images: (N, C, H, W).
        origins: (N, C, H, W), multiples of 1/255 in 0..1.

    Returns:
        Images (N, C, H, W) in 0..1.
    """
    levels = (images - origins) * 255
    change = (levels.abs() + 1e-3).floor() * levels.sign()  # the offset keeps whole levels that float error reduced
    return (origins * 255 + change).round().clamp(0, 255) / 255
