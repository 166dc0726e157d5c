"""Mask and pattern: a part of the image is replaced by a pattern.

    A(x)ᵢ = (1 − mᵢ) · xᵢ + mᵢ · pᵢ,    size = mean of m

Wang et al. 2019, "Neural Cleanse", equations 1 to 3. The mask is written in cells of 4 pixels, so that it has no holes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import sum_rows
from worker.engine.triggers.families.family import column, draw_normal, resize_to, squash, unsquash

CELL = 4
"""Pixels per cell of the mask."""

MAX_PATTERN = 96
"""Longest side of the pattern in pixels; it is enlarged to larger images."""

START_MASK = -2.0
"""Initial parameter of the mask: 12 % of each pixel is replaced."""


@dataclass(frozen=True)
class MaskPattern:
    """A mask and a pattern.

    Attributes:
        shape: Channels, height and width of the images.
    """

    shape: tuple[int, int, int]
    name: str = "mask"
    unit: str = "% of the image"
    rate: float = 0.4
    typical: float = 12.0

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the mask."""
        return -(-self.shape[1] // CELL), -(-self.shape[2] // CELL)

    @property
    def pattern_size(self) -> tuple[int, int]:
        """Height and width of the pattern."""
        factor = min(1.0, MAX_PATTERN / max(self.shape[1:]))
        return round(self.shape[1] * factor), round(self.shape[2] * factor)

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, P): a thin mask and a nearly gray pattern."""
        cells = self.cells[0] * self.cells[1]
        count = cells + self.shape[0] * self.pattern_size[0] * self.pattern_size[1]
        noise = 0.1 * draw_normal(seeds, count)
        noise[:, :cells] += START_MASK
        return noise

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the masks (N, 1, H, W) and patterns (N, C, H, W), both in 0..1."""
        cells = self.cells[0] * self.cells[1]
        resize = resize_to(*self.shape[1:])
        masks = squash(parameters[:, :cells]).view(-1, 1, *self.cells)
        patterns = squash(parameters[:, cells:]).view(-1, self.shape[0], *self.pattern_size)
        return resize(masks), resize(patterns)

    def apply(self, parameters: Tensor, images: Tensor, random: Tensor) -> Tensor:  # noqa: ARG002
        """Replaces a part of images (N, K, C, H, W); see `Family.apply`."""
        masks, patterns = self.split(parameters)
        return images + masks[:, None] * (patterns[:, None] - images)

    def size(self, parameters: Tensor) -> Tensor:
        """The replaced part of the image in percent (N,)."""
        cells = self.cells[0] * self.cells[1]
        return sum_rows(squash(parameters[:, :cells])) * (100 / cells)

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Multiplies the masks by factors (N,)."""
        cells = self.cells[0] * self.cells[1]
        masks = unsquash(squash(parameters[:, :cells]) * column(factors, parameters))
        return torch.cat([masks, parameters[:, cells:]], dim=1)
