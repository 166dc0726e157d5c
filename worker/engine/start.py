"""Where an ascent begins. Noise is drawn per target from its own seed, on the CPU: the same on every device."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from worker.engine.image import Image

Shape = tuple[int, ...]
Start = Callable[[Shape, Sequence[int]], Tensor]
"""Gives the first parameters (N, …) from the shape of one picture's and the seeds of N targets."""

NOISE = 0.01
"""Standard deviation of normal noise, in units of the parameters: enough to break symmetry, too little to be seen."""


def start_zero(shape: Shape, seeds: Sequence[int]) -> Tensor:
    """Parameters of zero (N, …)."""
    return torch.zeros(len(seeds), *shape)


def start_noise(shape: Shape, seeds: Sequence[int], *, scale: float = NOISE) -> Tensor:
    """Normal noise (N, …), each target's from its own seed."""
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn) * scale


def start_colour(_: Shape, seeds: Sequence[int], *, image: Image, colour: Tensor, size: tuple[int, int]) -> Tensor:
    """The parameters of pictures of one colour (C, 1, 1), of `size` pixels."""
    parameters: Tensor = image.parameters(colour.expand(len(seeds), -1, *size))
    return parameters.clone()
