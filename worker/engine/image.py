"""Ways to write a picture down: what the ascent changes is the writing, what the network sees is the picture."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Image(Protocol):
    """A way to write pictures down as a batch of parameters (N, C, H, W)."""

    def picture(self, parameters: Tensor) -> Tensor:
        """Pictures (N, C, H, W), in 0..1 as far as this way keeps them there."""

    def parameters(self, pictures: Tensor) -> Tensor:
        """The parameters that give these pictures: the inverse of `picture`."""


@dataclass(frozen=True)
class Pixels:
    """Pixels as they are, as offsets from an origin; they may leave 0..1 and are clipped when saved.

    With the mean picture as the origin this is Simonyan et al. 2013 (arXiv 1312.6034, section 2): the zero image of a
    network trained on mean-centred data, the mean added to the result.

    Attributes:
        origin: (C, 1, 1); the mean picture, or zero for black.
    """

    origin: Tensor

    def picture(self, parameters: Tensor) -> Tensor:
        return parameters + self.origin

    def parameters(self, pictures: Tensor) -> Tensor:
        return pictures - self.origin


@dataclass(frozen=True)
class BoundedPixels:
    """A sigmoid over the parameters keeps every pixel inside 0..1; zero is mid grey."""

    def picture(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def parameters(self, pictures: Tensor) -> Tensor:
        return torch.logit(pictures, eps=1e-4)
