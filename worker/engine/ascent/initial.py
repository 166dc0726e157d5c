"""Initial images of an ascent.

Noise is drawn for each slot from its own seed on the CPU, so that it is the same on every device and in every batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.ascent.parameterization import Parameterization

Shape = tuple[int, ...]
InitialImage = Callable[[Parameterization, Shape, Sequence[int]], Tensor]
"""From a parameterization, the images' shape (C, H, W) and N seeds to initial parameters (N, …)."""


def start_zero(parameterization: Parameterization, shape: Shape, seeds: Sequence[int]) -> Tensor:
    """Returns parameters of zero (N, …).

    Args:
        parameterization: How parameters become images.
        shape: Shape of an image (C, H, W).
        seeds: N seeds; only their number counts.
    """
    return torch.zeros(len(seeds), *parameterization.shape(*shape))


@dataclass(frozen=True)
class Normal:
    """Normal noise as parameters.

    Attributes:
        scale: Standard deviation in units of the parameters; 0.01 breaks the symmetry and is invisible.
    """

    scale: float

    def __call__(self, parameterization: Parameterization, shape: Shape, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, …) for images (C, H, W) and N seeds."""
        size = parameterization.shape(*shape)
        noise = [torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(noise) * self.scale


@dataclass(frozen=True)
class Uniform:
    """Images of uniform noise around mid gray.

    Attributes:
        spread: Width of the range; 1 is the range from black to white.
    """

    spread: float

    def __call__(self, parameterization: Parameterization, shape: Shape, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, …) for images (C, H, W) and N seeds."""
        noise = [torch.rand(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return parameterization.parameters(0.5 + (torch.stack(noise) - 0.5) * self.spread)


@dataclass(frozen=True)
class Given:
    """Given images, one for all slots or one for each.

    Attributes:
        images: (1 or N, C, H or 1, W or 1) in 0..1; an image of one pixel fills the canvas with its color.
        noise: Standard deviation of added normal noise in units of images in 0..1, different for each slot.
    """

    images: Tensor
    noise: float = 0.0

    def __call__(self, parameterization: Parameterization, shape: Shape, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, …) for images (C, H, W) and N seeds."""
        images = self.images.expand(len(seeds), *shape)
        if self.noise:
            noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            images = images + self.noise * torch.stack(noise)
        return parameterization.parameters(images).clone()
