"""Families of triggers: a family writes a change of images as a vector of parameters, and measures its size."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import each_row, sum_rows

DRAWS = 3
"""Random numbers per carrier that a family may use: the row, the column and the scale of a patch."""


class Family(Protocol):
    """A parameterization of triggers. Every function works slot by slot: N slots, P parameters, K carriers each."""

    @property
    def name(self) -> str:
        """Name of the family, for reports."""

    @property
    def unit(self) -> str:
        """Unit of `size`."""

    @property
    def rate(self) -> float:
        """Step size of Adam."""

    @property
    def typical(self) -> float:
        """A size that many classes need, in its unit: the search weighs sizes relative to it."""

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Returns initial parameters (N, P) on the CPU, each slot's drawn from its own seed."""

    def apply(self, parameters: Tensor, images: Tensor, random: Tensor) -> Tensor:
        """Changes images.

        Args:
            parameters: (N, P).
            images: The carriers of each slot (N, K, C, H, W) in 0..1.
            random: Random numbers (N, K, DRAWS) in 0..1.

        Returns:
            Images (N, K, C, H, W) in 0..1.
        """

    def size(self, parameters: Tensor) -> Tensor:
        """Computes the sizes (N,) of triggers with parameters (N, P); differentiable."""

    def scale(self, parameters: Tensor, factors: Tensor) -> Tensor:
        """Returns parameters (N, P) of triggers that are larger by factors (N,); 0 is no change at all."""


COLOR_LEVELS = (0.02, 0.25, 0.5, 0.75, 0.98)
"""Values of each channel of the colors that are tried without gradients."""


def list_colors(channels: int) -> Tensor:
    """Lists colors (M, C) in 0..1; grays only, if there are other than three channels."""
    levels = torch.tensor(COLOR_LEVELS)
    return torch.cartesian_prod(levels, levels, levels) if channels == 3 else levels[:, None].expand(-1, channels)


def draw_normal(seeds: Sequence[int], count: int) -> Tensor:
    """Draws standard normal numbers (N, count), each row from its own seed, on the CPU."""
    return torch.stack([torch.randn(count, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def squash(values: Tensor) -> Tensor:
    """The logistic function of (N, …), rounded in the same way for every batch."""
    return each_row(torch.sigmoid, values)


def unsquash(values: Tensor) -> Tensor:
    """Inverse of `squash` for (N, …) in 0..1."""
    return each_row(torch.logit, values.clamp(1e-6, 1 - 1e-6))


def root_mean_square(values: Tensor) -> Tensor:
    """Root mean square (N,) of the values of each slot (N, …), with a finite gradient at zero."""
    count = values[0].numel()
    return (sum_rows(values.square()) / count + 1e-12).sqrt()


def column(values: Tensor, like: Tensor) -> Tensor:
    """Reshapes (N,) to (N, 1, …) with as many axes as another tensor."""
    return values.view(-1, *[1] * (like.ndim - 1))


def add(images: Tensor, changes: Tensor) -> Tensor:
    """Adds changes (N, C, H, W) to the carriers (N, K, C, H, W) of each slot, within 0..1."""
    return (images + changes[:, None]).clamp(0, 1)


Resize = Callable[[Tensor], Tensor]
"""Maps (N, C, h, w) to (N, C, H, W)."""


def resize_to(height: int, width: int) -> Resize:
    """Bilinear interpolation to a height and width; the identity if images have them already."""

    def resize(images: Tensor) -> Tensor:
        if images.shape[-2:] == (height, width):
            return images
        return torch.nn.functional.interpolate(images, (height, width), mode="bilinear", align_corners=False)

    return resize
