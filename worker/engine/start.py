"""Where an ascent begins. Noise is drawn per target from its own seed, on the CPU: the same on every device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.image import Image

Shape = tuple[int, ...]
Start = Callable[[Image, Shape, Sequence[int]], Tensor]
"""Gives the first parameters (N, …) from a way to write pictures, their shape (C, H, W) and the seeds of N targets."""


def start_zero(image: Image, shape: Shape, seeds: Sequence[int]) -> Tensor:
    """Parameters of zero."""
    return torch.zeros(len(seeds), *image.shape(*shape))


@dataclass(frozen=True)
class Normal:
    """Normal noise as parameters.

    Attributes:
        scale: Standard deviation in units of the parameters; 0.01 breaks symmetry and is not seen.
    """

    scale: float

    def __call__(self, image: Image, shape: Shape, seeds: Sequence[int]) -> Tensor:
        drawn = [torch.randn(image.shape(*shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn) * self.scale


@dataclass(frozen=True)
class Uniform:
    """Pictures of even noise about mid grey.

    Attributes:
        spread: 1 fills the range from black to white.
    """

    spread: float

    def __call__(self, image: Image, shape: Shape, seeds: Sequence[int]) -> Tensor:
        drawn = [torch.rand(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return image.parameters(0.5 + (torch.stack(drawn) - 0.5) * self.spread)


@dataclass(frozen=True)
class Given:
    """Pictures, the same for all or each target's own.

    Attributes:
        pictures: (1 or N, C, H or 1, W or 1), in 0..1; a colour is spread over the whole picture.
        noise: Standard deviation of normal noise on top, each target's own.
    """

    pictures: Tensor
    noise: float = 0.0

    def __call__(self, image: Image, shape: Shape, seeds: Sequence[int]) -> Tensor:
        pictures = self.pictures.expand(len(seeds), *shape)
        if self.noise:
            drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            pictures = pictures + self.noise * torch.stack(drawn)
        return image.parameters(pictures).clone()
