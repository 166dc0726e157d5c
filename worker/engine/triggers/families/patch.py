"""Patch triggers: a small square picture at any place and at several scales.

Each pass puts the patch at a random place and scale of each carrier, so that it works everywhere (Brown et al. 2017,
"Adversarial patch", arXiv 1712.09665, section 2; Casper et al. 2022, arXiv 2110.03605). The size is its side in pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.triggers.families.family import draw_normal, list_colors, squash, unsquash

TEXELS = 16
"""Side of the patch in its own pixels."""

START_SIDE, MAX_SIDE = 0.3, 0.75
"""Initial and largest side as fractions of the image's shorter side."""

SCALES = 0.25
"""The side varies by a factor of 2 to the power of ± this."""


@dataclass(frozen=True)
class Patch:
    """A square picture.

    Attributes:
        shape: Channels, height and width of the images.
        texels: Side of the patch in its own pixels.
    """

    shape: tuple[int, int, int]
    name: str = "patch"
    unit: str = "pixels (side)"
    rate: float = 0.1
    texels: int = TEXELS

    @property
    def typical(self) -> float:
        """Three tenths of the shorter side."""
        return START_SIDE * min(self.shape[1:])

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, 1 + C · texels²): the side (a logit), and a nearly gray picture."""
        noise = 0.3 * draw_normal(seeds, 1 + self.shape[0] * self.texels**2)
        noise[:, 0] = math.log(START_SIDE / (MAX_SIDE - START_SIDE))
        return noise

    def candidates(self) -> Tensor:
        """Returns plain patches (M, P) of many colors; see `without_gradients`."""
        colors = unsquash(list_colors(self.shape[0])).repeat_interleave(self.texels**2, dim=1)
        side = torch.full((len(colors), 1), math.log(START_SIDE / (MAX_SIDE - START_SIDE)))
        return torch.cat([side, colors], dim=1)

    def picture(self, parameters: Tensor) -> Tensor:
        """Returns the patches (N, C, texels, texels) in 0..1."""
        return squash(parameters[:, 1:]).view(-1, self.shape[0], self.texels, self.texels)

    def apply(self, parameters: Tensor, images: Tensor, random: Tensor) -> Tensor:
        """Puts the patch into images (N, K, C, H, W); see `Family.apply`."""
        sides = self.size(parameters)[:, None] * 2 ** (SCALES * (2 * random[..., 2] - 1))  # (N, K)
        rows = _places(self.shape[1], sides, random[..., 0])  # (N, K, H), in 0..1 inside the patch
        columns = _places(self.shape[2], sides, random[..., 1])  # (N, K, W)
        opacity = _cover(rows, sides)[..., :, None] * _cover(columns, sides)[..., None, :]  # (N, K, H, W)
        grid = torch.stack(
            [
                (2 * columns - 1)[..., None, :].expand(opacity.shape),
                (2 * rows - 1)[..., :, None].expand(opacity.shape),
            ],
            dim=-1,
        )  # (N, K, H, W, 2)
        pictures = self.picture(parameters)[:, None].expand(-1, images.shape[1], -1, -1, -1)
        # The places are random, so they need no gradient; the side has one through the opacity.
        drawn = torch.nn.functional.grid_sample(
            pictures.flatten(0, 1), grid.flatten(0, 1).detach(), padding_mode="border", align_corners=False
        ).view(images.shape)
        return images + opacity[:, :, None] * (drawn - images)

    def size(self, parameters: Tensor) -> Tensor:
        """The side in pixels (N,)."""
        return squash(parameters[:, 0]) * MAX_SIDE * min(self.shape[1:])

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Multiplies the side by factors (N,)."""
        grown = unsquash(squash(parameters[:, :1]) * factors[:, None])
        return torch.cat([grown, parameters[:, 1:]], dim=1)


def _places(length: int, sides: Tensor, random: Tensor) -> Tensor:
    """Where each of `length` pixels lies in a patch of sides (N, K): (N, K, length), 0..1 inside."""
    starts = random * (length - sides)
    centers = torch.arange(length, device=sides.device) + 0.5
    return (centers - starts[..., None]) / sides[..., None]


def _cover(places: Tensor, sides: Tensor) -> Tensor:
    """The part of each pixel that the patch covers, 0..1, from the pixels' places in it (N, K, length)."""
    centers, ends = places * sides[..., None], sides[..., None]
    return (torch.minimum(centers + 0.5, ends) - (centers - 0.5).clamp_min(0)).clamp(0, 1)
