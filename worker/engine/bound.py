"""How far a picture may go: after each step it is brought back to the nearest that is allowed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.rows import sum_rows

Bound = Callable[[Tensor, Tensor], Tensor]
"""Gives pictures (N, C, H, W) from pictures and from where they came: (N, C, H, W), all in 0..1."""


def clip(pictures: Tensor, origins: Tensor) -> Tensor:  # noqa: ARG001
    """Every value between black and white."""
    return pictures.clamp(0, 1)


@dataclass(frozen=True)
class LInf:
    """No value further than the radius from where it was (Goodfellow et al. 2014, arXiv 1412.6572)."""

    radius: float

    def __call__(self, pictures: Tensor, origins: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(pictures, origins - self.radius), origins + self.radius)


@dataclass(frozen=True)
class L2:
    """No picture further than the radius from where it was, by the root of the sum of all squares."""

    radius: float

    def __call__(self, pictures: Tensor, origins: Tensor) -> Tensor:
        change = pictures - origins
        length = sum_rows(change.square()).clamp_min(1e-30).sqrt()
        return origins + change * (self.radius / length).clamp_max(1)[:, None, None, None]
