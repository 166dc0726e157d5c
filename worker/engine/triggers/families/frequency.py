"""Frequency triggers: a sum of gratings (stripes) of every frequency in four directions.

    A(x) = clip(x + Σ a · cos(2πf·u) + b · sin(2πf·u)),    u the position along the direction

A few Fourier coefficients per direction instead of all: the search cannot write arbitrary noise, so a class that reacts
to stripes needs a much smaller change than the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from worker.engine.triggers.families.family import add, column, draw_normal, root_mean_square

DIRECTIONS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, -1.0))
"""Row and column components of the frequency: horizontal stripes, vertical ones, and both diagonals."""

MAX_FREQUENCIES = 48
"""Frequencies per direction; in larger images they are further apart."""


@lru_cache(maxsize=8)
def gratings(height: int, width: int) -> Tensor:
    """Returns all gratings (G, H, W) with values −1 to 1, on the CPU."""
    count = min(MAX_FREQUENCIES, min(height, width) // 2)
    rows = (torch.arange(height) / height)[:, None]
    columns = (torch.arange(width) / width)[None, :]
    steps = torch.linspace(1, min(height, width) // 2, count).round()
    waves = [
        wave(2 * math.pi * step * (down * rows + right * columns))
        for down, right in DIRECTIONS
        for step in steps.tolist()
        for wave in (torch.cos, torch.sin)
    ]
    return torch.stack([wave.expand(height, width) for wave in waves])


@dataclass(frozen=True)
class Frequency:
    """Amplitudes of gratings for each channel.

    Attributes:
        shape: Channels, height and width of the images.
    """

    shape: tuple[int, int, int]
    name: str = "frequency"
    unit: str = "gray levels of 255 (root mean square)"
    rate: float = 0.005
    typical: float = 15.0

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, P): hardly visible stripes."""
        return 0.001 * draw_normal(seeds, self.shape[0] * len(gratings(*self.shape[1:])))

    def candidates(self) -> Tensor:
        """Returns gratings (M, P) of all channels together, and of each channel; see `without_gradients`."""
        waves = torch.eye(len(gratings(*self.shape[1:])))[::4]  # one phase of every other frequency
        mixtures = torch.cat([torch.ones(1, self.shape[0]), torch.eye(self.shape[0])]) if self.shape[0] > 1 else None
        if mixtures is None:
            return waves
        return torch.einsum("mc,wg->mwcg", mixtures, waves).flatten(0, 1).flatten(1)

    def change(self, parameters: Tensor) -> Tensor:
        """Returns the sum of gratings (N, C, H, W)."""
        waves = gratings(*self.shape[1:]).to(parameters)  # (G, H, W)
        amplitudes = parameters.view(len(parameters) * self.shape[0], -1)  # (N · C, G)
        return (amplitudes @ waves.flatten(1)).view(-1, *self.shape)

    def apply(self, parameters: Tensor, images: Tensor, random: Tensor) -> Tensor:  # noqa: ARG002
        """Adds the gratings to images (N, K, C, H, W); see `Family.apply`."""
        return add(images, self.change(parameters))

    def size(self, parameters: Tensor) -> Tensor:
        """Root mean square of the change in levels (N,)."""
        return 255 * root_mean_square(self.change(parameters))

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Multiplies the amplitudes by factors (N,)."""
        return parameters * column(factors, parameters)

    def strongest(self, parameters: Tensor) -> tuple[int, float]:
        """The direction (its index) and the period in pixels of the strongest grating of one slot (P,)."""
        per_wave = parameters.view(self.shape[0], -1).square().sum(0).view(len(DIRECTIONS), -1, 2).sum(2)
        direction, step = divmod(int(per_wave.argmax()), per_wave.shape[1])
        height, width = self.shape[1:]
        frequency = torch.linspace(1, min(height, width) // 2, per_wave.shape[1]).round()[step]
        down, right = DIRECTIONS[direction]
        return direction, 1 / (float(frequency) * math.hypot(down / height, right / width))
