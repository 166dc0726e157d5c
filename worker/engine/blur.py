"""Gaussian blur, by three box filters whose edges carry a fraction (Gwosdek et al. 2011): exact to a hundredth."""

import math

import torch
from torch import Tensor
from torch.nn import functional

PASSES = 3


def blur(pictures: Tensor, radius: float) -> Tensor:
    """Pictures (N, C, H, W) blurred by a standard deviation of `radius` pixels; beyond the edge the edge goes on.

    Pillow's GaussianBlur is the same filter on 8-bit levels.
    """
    kernel = _box(radius).to(pictures)
    for _ in range(PASSES):
        pictures = _along(_along(pictures, kernel, -1), kernel, -2)
    return pictures


def _box(radius: float) -> Tensor:
    """The box whose threefold convolution has the variance radius²: whole in the middle, a fraction at both ends."""
    variance = radius**2 / PASSES
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    kernel = torch.ones(2 * whole + 3)
    kernel[0] = kernel[-1] = fraction
    return kernel / kernel.sum()


def _along(pictures: Tensor, kernel: Tensor, axis: int) -> Tensor:
    reach = len(kernel) // 2
    sides = [reach, reach, 0, 0] if axis == -1 else [0, 0, reach, reach]
    padded = functional.pad(pictures, sides, mode="replicate")
    shape = [1, len(kernel)] if axis == -1 else [len(kernel), 1]
    weight = kernel.view(1, 1, *shape).expand(pictures.shape[1], 1, *shape)
    return functional.conv2d(padded, weight, groups=pictures.shape[1])
