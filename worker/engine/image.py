"""Ways to write a picture down: what the ascent changes is the writing, what the network sees is the picture."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Image(Protocol):
    """A way to write pictures down as a batch of parameters (N, …)."""

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """The shape of one picture's parameters."""

    def deviation(self, parameters: Tensor, pictures: Tensor) -> Tensor:
        """What a norm penalty keeps small: (N, …)."""

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

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        return channels, height, width

    def deviation(self, parameters: Tensor, pictures: Tensor) -> Tensor:  # noqa: ARG002
        return parameters

    def picture(self, parameters: Tensor) -> Tensor:
        return parameters + self.origin

    def parameters(self, pictures: Tensor) -> Tensor:
        return pictures - self.origin


@dataclass(frozen=True)
class BoundedPixels:
    """A sigmoid over the parameters keeps every pixel inside 0..1; zero is mid grey."""

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        return channels, height, width

    def deviation(self, parameters: Tensor, pictures: Tensor) -> Tensor:  # noqa: ARG002
        return parameters

    def picture(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def parameters(self, pictures: Tensor) -> Tensor:
        return torch.logit(pictures, eps=1e-4)


COLOUR_AXES = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Square root of the covariance of ImageNet's colours, rows red, green and blue (Olah et al. 2017, lucid)."""


@dataclass(frozen=True)
class Fourier:
    """A spectrum whose frequencies weigh as they do in photographs, in decorrelated colours, through a sigmoid.

    A step changes all places and sizes at once, and not the pixels that speckle is made of (Olah et al. 2017,
    doi:10.23915/distill.00007, "Preconditioning"; Mordvintsev et al. 2018, doi:10.23915/distill.00012).

    Attributes:
        size: Height and width of the pictures in pixels.
    """

    size: tuple[int, int]

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        return channels, height, width // 2 + 1, 2

    def deviation(self, parameters: Tensor, pictures: Tensor) -> Tensor:  # noqa: ARG002
        return pictures - 0.5

    def picture(self, parameters: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(parameters) * self._weights(parameters)  # (N, C, H, W // 2 + 1)
        plain = torch.fft.irfft2(spectrum, s=self.size, norm="ortho")  # (N, C, H, W)
        mixed: Tensor = torch.einsum("nchw,dc->ndhw", plain, _colours(parameters))
        return mixed.sigmoid()

    def parameters(self, pictures: Tensor) -> Tensor:
        unmixed = torch.linalg.inv(_colours(pictures))
        plain = torch.einsum("nchw,dc->ndhw", torch.logit(pictures, eps=1e-4), unmixed)
        return torch.view_as_real(torch.fft.rfft2(plain, norm="ortho") / self._weights(pictures)).contiguous()

    def _weights(self, like: Tensor) -> Tensor:
        """A quarter over the frequency in cycles per pixel, which makes a sigmoid's worth of contrast."""
        height, width = self.size
        down = torch.fft.fftfreq(height, device=like.device)[:, None]
        right = torch.fft.rfftfreq(width, device=like.device)
        frequency: Tensor = (down**2 + right**2).sqrt()
        return 0.25 / frequency.clamp_min(1 / max(self.size))


def _colours(like: Tensor) -> Tensor:
    """The axes as columns, the longest of length one, for pictures of three channels; else every channel alone."""
    if like.shape[1] != len(COLOUR_AXES):
        return torch.eye(like.shape[1], device=like.device)
    axes = torch.tensor(COLOUR_AXES, device=like.device)
    longest: Tensor = axes.norm(dim=0).max()
    return axes / longest
