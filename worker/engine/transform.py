"""What the network is shown of a picture at each step: a picture must be good in many views, not in one."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Transform(Protocol):
    """Shows pictures in a way that random numbers choose."""

    @property
    def draws(self) -> int:
        """How many random numbers each picture needs per step."""

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        """Views (N, C, h, w) of pictures (N, C, H, W), by numbers (N, draws) in 0..1."""


@dataclass(frozen=True)
class Whole:
    """The picture as it is."""

    draws: int = 0

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:  # noqa: ARG002
        return pictures


@dataclass(frozen=True)
class Window:
    """A window onto the picture, scaled, turned and shifted at random, sampled at the network's size in one go.

    Attributes:
        size: Height and width of the views in pixels.
        scale: Least and most magnification, drawn evenly in its logarithm; at 1 a pixel is a pixel.
        degrees: The window is turned by up to so much either way.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    degrees: float
    draws: int = 4

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        low, high = (math.log(edge) for edge in self.scale)
        magnification = (low + (high - low) * random[:, 0]).exp()  # (N,)
        angle = math.radians(self.degrees) * (2 * random[:, 1] - 1)
        height, width = pictures.shape[2:]
        # Half of the window's sides, and the room that it has to move in, in units of half the picture.
        tall = self.size[0] / height / magnification
        wide = self.size[1] / width / magnification
        down = (2 * random[:, 2] - 1) * (1 - tall).clamp_min(0)
        right = (2 * random[:, 3] - 1) * (1 - wide).clamp_min(0)
        cos, sin = angle.cos(), angle.sin()
        aspect = height / width
        rows = torch.stack([cos * wide, -sin * tall * aspect, right, sin * wide / aspect, cos * tall, down], 1)
        shape = [len(pictures), pictures.shape[1], *self.size]
        grid = functional.affine_grid(rows.view(-1, 2, 3), shape, align_corners=False)  # (N, h, w, 2)
        return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
