"""Ways to write a picture down: what the ascent changes is the writing, what the network sees is the picture.

Here those that write pixels; `spectrum.py` has those that write frequencies.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from worker.engine.rows import each_row


class Image(Protocol):
    """A way to write pictures down as a batch of parameters (N, …)."""

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """The shape of one picture's parameters."""

    def deviation(self, parameters: Tensor, pictures: Tensor) -> Tensor:
        """What a prior keeps small or smooth: (N, C, H, W)."""

    def picture(self, parameters: Tensor) -> Tensor:
        """Pictures (N, C, H, W), in 0..1 as far as this way keeps them there."""

    def parameters(self, pictures: Tensor) -> Tensor:
        """The parameters that give these pictures: the inverse of `picture`."""


@dataclass(frozen=True)
class Pixels:
    """Pixels as they are, as offsets from an origin; they may leave 0..1 and are clipped when saved.

    With the mean picture as the origin and a unit of one this is Simonyan et al. 2013 (arXiv 1312.6034, section 2): the
    zero image of a network trained on mean-centred data, the mean added to the result. With the network's standard
    deviation as the unit the parameters are the network's inputs; with 1/255 they are 8-bit levels.

    Attributes:
        origin: (C, 1, 1); the mean picture, or zero for black.
        unit: (C, 1, 1); what a parameter of one adds to the picture.
    """

    origin: Tensor
    unit: Tensor

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        return channels, height, width

    def deviation(self, parameters: Tensor, pictures: Tensor) -> Tensor:  # noqa: ARG002
        return parameters

    def picture(self, parameters: Tensor) -> Tensor:
        return parameters * self.unit + self.origin

    def parameters(self, pictures: Tensor) -> Tensor:
        return (pictures - self.origin.to(pictures)) / self.unit.to(pictures)


@dataclass(frozen=True)
class BoundedPixels:
    """A sigmoid over the parameters keeps every pixel inside 0..1; zero is mid grey."""

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        return channels, height, width

    def deviation(self, parameters: Tensor, pictures: Tensor) -> Tensor:  # noqa: ARG002
        return parameters

    def picture(self, parameters: Tensor) -> Tensor:
        return each_row(torch.sigmoid, parameters)

    def parameters(self, pictures: Tensor) -> Tensor:
        return torch.logit(pictures, eps=1e-4)
