"""Ways to write a picture down as frequencies: a whole spectrum, or its phases alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from worker.engine.rows import each_row

COLOUR_AXES = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Square root of the covariance of ImageNet's colours, rows red, green and blue (Olah et al. 2017, lucid)."""

MACO_AXES = (
    (0.56282854, 0.19482528, 0.04329450),
    (0.58447580, 0.0, -0.10823626),
    (0.58447580, -0.19482528, 0.06494176),
)
"""The same as Fel et al. 2023 (Horama) have it, likewise row by row."""


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
        return each_row(torch.sigmoid, mix_colours(plain, _scaled_axes(parameters)))

    def parameters(self, pictures: Tensor) -> Tensor:
        unmixed = mix_colours(torch.logit(pictures, eps=1e-4), torch.linalg.inv(_scaled_axes(pictures)))
        return torch.view_as_real(torch.fft.rfft2(unmixed, norm="ortho") / self._weights(pictures)).contiguous()

    def _weights(self, like: Tensor) -> Tensor:
        """A quarter over the frequency in cycles per pixel, which makes a sigmoid's worth of contrast."""
        return 0.25 / find_frequencies(self.size, like.device)


@dataclass(frozen=True)
class Phases:
    """The phases of a spectrum whose magnitudes stay those of natural pictures: contours move, contrast cannot explode.

    MACO (Fel et al. 2023, arXiv 2306.06805, section 3). The picture is brought to zero mean and unit variance, then to
    colours, then through a sigmoid.

    Attributes:
        size: Height and width of the pictures in pixels.
        magnitudes: (C, H, W // 2 + 1), of decorrelated colours.
    """

    size: tuple[int, int]
    magnitudes: Tensor

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        return channels, height, width // 2 + 1

    def deviation(self, parameters: Tensor, pictures: Tensor) -> Tensor:  # noqa: ARG002
        raise ValueError("a picture of phases has fixed magnitudes: no prior applies to it")

    def picture(self, parameters: Tensor) -> Tensor:
        spectrum = each_row(partial(torch.polar, self.magnitudes), each_row(_standardise, parameters))
        plain = each_row(_standardise, torch.fft.irfft2(spectrum, s=self.size))  # (N, C, H, W)
        return each_row(torch.sigmoid, mix_colours(plain, _axes(parameters, MACO_AXES)))

    def parameters(self, pictures: Tensor) -> Tensor:
        """Phases of these pictures; what their magnitudes said is lost."""
        unmixed = mix_colours(torch.logit(pictures, eps=1e-4), torch.linalg.inv(_axes(pictures, MACO_AXES)))
        return each_row(torch.angle, torch.fft.rfft2(unmixed))


def measure_magnitudes(pictures: Iterable[Tensor], size: tuple[int, int]) -> Tensor:
    """Mean magnitudes (C, H, W // 2 + 1) of the spectra of pictures (C, h, w) in 0..1, in decorrelated colours.

    Raises:
        ValueError: There are no pictures.
    """
    total, count = torch.zeros(()), 0
    for picture in pictures:
        fitted = functional.interpolate(picture[None], size, mode="bilinear", antialias=True)
        unmixed = mix_colours(fitted, torch.linalg.inv(_axes(fitted, MACO_AXES)))
        total, count = total + torch.fft.rfft2(unmixed)[0].abs(), count + 1
    if not count:
        raise ValueError("magnitudes are measured on pictures, and there are none")
    return total / count


def default_magnitudes(channels: int, size: tuple[int, int]) -> Tensor:
    """One over the frequency, as in photographs on average (Field 1987, doi:10.1364/JOSAA.4.002379)."""
    return (1 / find_frequencies(size, torch.device("cpu"))).expand(channels, -1, -1)


def find_frequencies(size: tuple[int, int], device: torch.device) -> Tensor:
    """In cycles per pixel (H, W // 2 + 1), the constant counted as the lowest of the others."""
    height, width = size
    down = torch.fft.fftfreq(height, device=device)[:, None]
    right = torch.fft.rfftfreq(width, device=device)
    frequency: Tensor = torch.hypot(down, right)
    return frequency.clamp_min(1 / max(size))


def mix_colours(pictures: Tensor, axes: Tensor) -> Tensor:
    """Pictures (N, C, H, W), each colour a sum of the channels by a row of `axes` (C, C)."""
    return (axes @ pictures.flatten(2)).view(pictures.shape)


def _scaled_axes(like: Tensor) -> Tensor:
    """lucid's axes, the longest of length one."""
    axes = _axes(like, COLOUR_AXES)
    longest: Tensor = axes.norm(dim=0).max()
    return axes / longest


def _axes(like: Tensor, axes: tuple[tuple[float, ...], ...]) -> Tensor:
    """The axes for pictures of three channels; else every channel is its own."""
    if like.shape[1] != len(axes):
        return torch.eye(like.shape[1], device=like.device)
    return torch.tensor(axes, device=like.device)


def _standardise(tensor: Tensor) -> Tensor:
    """Zero mean and unit variance over the last three axes, (C, H, W)."""
    deviation, mean = torch.std_mean(tensor, (-3, -2, -1), keepdim=True)
    return (tensor - mean) / (deviation + 1e-4)
