"""Where an ascent begins. Noise is drawn per target from its own seed, on the CPU: the same on every device."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from worker.engine.image import Image

Start = Callable[[tuple[int, int, int], Sequence[int]], Tensor]
"""Gives the first parameters (N, C, H, W) from a shape (C, H, W) and the seeds of N targets."""

NOISE = 0.01
"""Standard deviation of normal noise, in units of the parameters: enough to break symmetry, too little to be seen."""


def start_zero(shape: tuple[int, int, int], seeds: Sequence[int]) -> Tensor:
    """Parameters of zero (N, C, H, W)."""
    return torch.zeros(len(seeds), *shape)


def start_noise(shape: tuple[int, int, int], seeds: Sequence[int], *, scale: float = NOISE) -> Tensor:
    """Normal noise (N, C, H, W), each target's from its own seed."""
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn) * scale


def start_colour(shape: tuple[int, int, int], seeds: Sequence[int], *, image: Image, colour: Tensor) -> Tensor:
    """The parameters of pictures of one colour (C, 1, 1)."""
    parameters: Tensor = image.parameters(colour.expand(len(seeds), *shape))
    return parameters.clone()
