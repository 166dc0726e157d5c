"""Gaussian blur by three box filters with fractional edges: extended box blur (Gwosdek et al. 2011).

The kernel has the variance of the Gaussian, and differs from it by about one percent.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

PASSES = 3


def blur(images: Tensor, radius: float) -> Tensor:
    """Blurs images; beyond an edge, the pixels of the edge are repeated.

    Pillow's `GaussianBlur` is the same filter on 8-bit values.

    Args:
        images: (N, C, H, W), any range.
        radius: Standard deviation in pixels.

    Returns:
        Blurred images (N, C, H, W).
    """
    kernel = _build_box(radius).to(images)
    for _ in range(PASSES):
        images = _convolve(_convolve(images, kernel, -1), kernel, -2)
    return images


def _build_box(radius: float) -> Tensor:
    """The box (2r + 3,) whose threefold convolution has the variance radius²: ones, and a fraction at both ends."""
    variance = radius**2 / PASSES
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    kernel = torch.ones(2 * whole + 3)
    kernel[0] = kernel[-1] = fraction
    return kernel / kernel.sum()


def _convolve(images: Tensor, kernel: Tensor, axis: int) -> Tensor:
    reach = len(kernel) // 2
    sides = [reach, reach, 0, 0] if axis == -1 else [0, 0, reach, reach]
    padded = functional.pad(images, sides, mode="replicate")
    shape = [1, len(kernel)] if axis == -1 else [len(kernel), 1]
    weight = kernel.view(1, 1, *shape).expand(images.shape[1], 1, *shape)  # (C, 1, 1, k) or (C, 1, k, 1)
    return functional.conv2d(padded, weight, groups=images.shape[1])
