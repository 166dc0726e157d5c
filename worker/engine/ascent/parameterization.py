"""Parameterizations: how the parameters that an ascent changes become an image.

This module has those whose parameters are pixels; `fourier` has those whose parameters are frequencies.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import each_row


class Parameterization(Protocol):
    """A map from parameters (N, …) to images (N, C, H, W)."""

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Returns the shape of the parameters of one image of `channels`, `height` and `width`."""

    def deviation(self, parameters: Tensor, images: Tensor) -> Tensor:
        """Returns what regularizers penalize, (N, C, H, W), for parameters (N, …) and their images (N, C, H, W)."""

    def image(self, parameters: Tensor) -> Tensor:
        """Returns the images (N, C, H, W) of parameters (N, …), in 0..1 if the parameterization ensures it."""

    def parameters(self, images: Tensor) -> Tensor:
        """Returns the parameters (N, …) of images (N, C, H, W): the inverse of `image`."""


@dataclass(frozen=True)
class Pixels:
    """Pixels as offsets from an origin. Images may leave 0..1; they are clipped when they are saved.

    With the mean image as the origin and a unit of one, this is Simonyan et al. 2013 (arXiv 1312.6034, section 2): the
    zero image of a network that was trained on mean-centered data, with the mean added to the result. If the unit is
    the network's standard deviation, the parameters are the network's inputs; if it is 1/255, they are 8-bit values.

    Attributes:
        origin: The image of zero parameters (C, 1, 1): the mean image, or zero for black.
        unit: The change of the image per parameter (C, 1, 1).
    """

    origin: Tensor
    unit: Tensor

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Returns the shape of an image."""
        return channels, height, width

    def deviation(self, parameters: Tensor, images: Tensor) -> Tensor:  # noqa: ARG002
        """Returns the parameters (N, C, H, W)."""
        return parameters

    def image(self, parameters: Tensor) -> Tensor:
        """Computes the images (N, C, H, W): parameters · unit + origin."""
        return parameters * self.unit + self.origin

    def parameters(self, images: Tensor) -> Tensor:
        """Computes the parameters of images (N, C, H, W): (images − origin) / unit."""
        return (images - self.origin.to(images)) / self.unit.to(images)


@dataclass(frozen=True)
class BoundedPixels:
    """Pixels after a sigmoid, which keeps images in 0..1; a parameter of zero is mid gray."""

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Returns the shape of an image."""
        return channels, height, width

    def deviation(self, parameters: Tensor, images: Tensor) -> Tensor:  # noqa: ARG002
        """Returns the parameters (N, C, H, W)."""
        return parameters

    def image(self, parameters: Tensor) -> Tensor:
        """Computes the images (N, C, H, W) in 0..1: sigmoid(parameters)."""
        return each_row(torch.sigmoid, parameters)

    def parameters(self, images: Tensor) -> Tensor:
        """Computes the parameters (N, C, H, W): logit(images), with values clipped to 0.0001..0.9999."""
        return torch.logit(images, eps=1e-4)
