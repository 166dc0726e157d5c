"""Frame triggers: a plain frame along the edges of the image; the size is its width in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.triggers.families.family import column, draw_normal, list_colors, squash, unsquash

START_WIDTH, MAX_WIDTH = 0.1, 0.5
"""Initial and largest width as fractions of the shorter side."""


@dataclass(frozen=True)
class Frame:
    """A frame of one color.

    Attributes:
        shape: Channels, height and width of the images.
    """

    shape: tuple[int, int, int]
    name: str = "frame"
    unit: str = "pixels (width)"
    rate: float = 0.1

    @property
    def typical(self) -> float:
        """A tenth of the shorter side."""
        return START_WIDTH * min(self.shape[1:])

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, 1 + C): the width (a logit), and a nearly gray color."""
        noise = draw_normal(seeds, 1 + self.shape[0])
        noise[:, 0] = math.log(START_WIDTH / (MAX_WIDTH - START_WIDTH))
        return noise

    def candidates(self) -> Tensor:
        """Returns frames (M, 1 + C) of many colors; see `without_gradients`."""
        colors = unsquash(list_colors(self.shape[0]))
        width = torch.full((len(colors), 1), math.log(START_WIDTH / (MAX_WIDTH - START_WIDTH)))
        return torch.cat([width, colors], dim=1)

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
        """The width in pixels (N,)."""
        return squash(parameters[:, 0]) * MAX_WIDTH * min(self.shape[1:])

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Multiplies the width by factors (N,)."""
        grown = unsquash(squash(parameters[:, :1]) * factors[:, None])
        return torch.cat([grown, parameters[:, 1:]], dim=1)
