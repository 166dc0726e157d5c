"""Frame triggers: a plain frame along the edges of the image; the size is its width in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import each_row
from worker.engine.triggers.family import column, draw_normal, squash

START_WIDTH = 0.1
"""Initial width as a fraction of the shorter side."""

WIDTH_SPEED = 1.0
"""The logarithm of the width changes by so many steps of the optimizer at once."""


@dataclass(frozen=True)
class Frame:
    """A frame of one color.

    Attributes:
        shape: Channels, height and width of the images.
    """

    shape: tuple[int, int, int]
    name: str = "frame"
    unit: str = "pixels (width)"
    rate: float = 0.05

    @property
    def typical(self) -> float:
        """A tenth of the shorter side."""
        return START_WIDTH * min(self.shape[1:])

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, 1 + C): the logarithm of the width, and a nearly gray color."""
        noise = draw_normal(seeds, 1 + self.shape[0])
        noise[:, 0] = math.log(START_WIDTH * min(self.shape[1:])) / WIDTH_SPEED
        return noise

    def apply(self, parameters: Tensor, images: Tensor, random: Tensor) -> Tensor:  # noqa: ARG002
        """Draws the frame into images (N, K, C, H, W); see `Family.apply`."""
        opacity = (column(self.size(parameters), images) - self._distances(images)).clamp(0, 1)
        return images + opacity * (self.color(parameters)[:, None, :, None, None] - images)

    def color(self, parameters: Tensor) -> Tensor:
        """Returns the colors (N, C) in 0..1."""
        return squash(parameters[:, 1:])

    def _distances(self, like: Tensor) -> Tensor:
        """Whole pixels between each pixel and the nearest edge (H, W)."""
        rows, columns = (torch.arange(side, device=like.device) for side in self.shape[1:])
        rows, columns = (torch.minimum(places, places.flip(0)) for places in (rows, columns))
        return torch.minimum(rows[:, None], columns[None, :]).to(like.dtype)

    def size(self, parameters: Tensor) -> Tensor:
        """The width in pixels (N,); at most half of the shorter side."""
        return each_row(torch.exp, parameters[:, 0] * WIDTH_SPEED).clamp_max(min(self.shape[1:]) / 2)

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Multiplies the width by factors (N,)."""
        grown = parameters[:, :1] + each_row(torch.log, factors.clamp_min(1e-6))[:, None] / WIDTH_SPEED
        return torch.cat([grown, parameters[:, 1:]], dim=1)
