"""Fourier parameterizations: images as a spectrum of frequencies, or as the phases of a fixed spectrum (MACO)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from worker.engine.model.batch_invariant import each_row

COLOR_AXES = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Square root of the covariance of ImageNet's colors; rows are red, green and blue (Olah et al. 2017, lucid)."""

MACO_AXES = (
    (0.56282854, 0.19482528, 0.04329450),
    (0.58447580, 0.0, -0.10823626),
    (0.58447580, -0.19482528, 0.06494176),
)
"""The same matrix as Fel et al. 2023 (Horama) scale it; rows are red, green and blue."""


@dataclass(frozen=True)
class Fourier:
    """A spectrum with the weights of natural images, in decorrelated colors, after a sigmoid.

    I = sigmoid(A · irfft2(w · z)), where z are the parameters, w = 1 / (4 · frequency), and A correlates the colors.
    A gradient step then changes all positions and scales at once, and not single pixels (Olah et al. 2017,
    doi:10.23915/distill.00007, "Preconditioning"; Mordvintsev et al. 2018, doi:10.23915/distill.00012).

    Attributes:
        size: Height and width of the images in pixels.
    """

    size: tuple[int, int]

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Returns the shape of a spectrum: real and imaginary parts are on the last axis."""
        return channels, height, width // 2 + 1, 2

    def deviation(self, parameters: Tensor, images: Tensor) -> Tensor:  # noqa: ARG002
        """Returns the distance of the images (N, C, H, W) from mid gray."""
        return images - 0.5

    def image(self, parameters: Tensor) -> Tensor:
        """Returns the images (N, C, H, W) in 0..1 of spectra (N, C, H, W // 2 + 1, 2)."""
        spectrum = torch.view_as_complex(parameters) * self._weights(parameters)  # (N, C, H, W // 2 + 1)
        decorrelated = torch.fft.irfft2(spectrum, s=self.size, norm="ortho")  # (N, C, H, W)
        return each_row(torch.sigmoid, mix_colors(decorrelated, _scaled_axes(parameters)))

    def parameters(self, images: Tensor) -> Tensor:
        """Returns the spectra (N, C, H, W // 2 + 1, 2) of images (N, C, H, W); values are clipped to 0.0001..0.9999."""
        decorrelated = mix_colors(torch.logit(images, eps=1e-4), torch.linalg.inv(_scaled_axes(images)))
        return torch.view_as_real(torch.fft.rfft2(decorrelated, norm="ortho") / self._weights(images)).contiguous()

    def _weights(self, like: Tensor) -> Tensor:
        """A quarter over the frequency in cycles per pixel (H, W // 2 + 1); the quarter gives usable contrast."""
        return 0.25 / find_frequencies(self.size, like.device)


@dataclass(frozen=True)
class Phases:
    """The phases of a spectrum with the magnitudes of natural images.

    MACO (Fel et al. 2023, arXiv 2306.06805, section 3): contours move, and the contrast cannot grow. The image is
    standardized to zero mean and unit variance, then its colors are correlated, then a sigmoid is applied.

    Attributes:
        size: Height and width of the images in pixels.
        magnitudes: Magnitudes of the spectrum in decorrelated colors (C, H, W // 2 + 1).
    """

    size: tuple[int, int]
    magnitudes: Tensor

    def shape(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Returns the shape of the phases."""
        return channels, height, width // 2 + 1

    def deviation(self, parameters: Tensor, images: Tensor) -> Tensor:  # noqa: ARG002
        """Raises `ValueError`: phases (N, C, H, W // 2 + 1) have fixed magnitudes, so regularizers have no effect."""
        raise ValueError("an image of phases has fixed magnitudes: no regularizer applies to it")

    def image(self, parameters: Tensor) -> Tensor:
        """Returns the images (N, C, H, W) in 0..1 of phases (N, C, H, W // 2 + 1) in radians."""
        spectrum = each_row(partial(torch.polar, self.magnitudes), each_row(_standardize, parameters))
        decorrelated = each_row(_standardize, torch.fft.irfft2(spectrum, s=self.size))  # (N, C, H, W)
        return each_row(torch.sigmoid, mix_colors(decorrelated, _axes(parameters, MACO_AXES)))

    def parameters(self, images: Tensor) -> Tensor:
        """Returns the phases (N, C, H, W // 2 + 1) of images (N, C, H, W); their magnitudes are lost."""
        decorrelated = mix_colors(torch.logit(images, eps=1e-4), torch.linalg.inv(_axes(images, MACO_AXES)))
        return each_row(torch.angle, torch.fft.rfft2(decorrelated))


def measure_magnitudes(images: Iterable[Tensor], size: tuple[int, int]) -> Tensor:
    """Measures the mean magnitudes of the spectra of images in decorrelated colors.

    Args:
        images: Images (C, h, w) in 0..1, of any height and width.
        size: Height and width in pixels to which the images are scaled.

    Returns:
        Magnitudes (C, H, W // 2 + 1).

    Raises:
        ValueError: There are no images.
    """
    total, count = torch.zeros(()), 0
    for image in images:
        scaled = functional.interpolate(image[None], size, mode="bilinear", antialias=True)  # (1, C, H, W)
        decorrelated = mix_colors(scaled, torch.linalg.inv(_axes(scaled, MACO_AXES)))
        total, count = total + torch.fft.rfft2(decorrelated)[0].abs(), count + 1
    if not count:
        raise ValueError("magnitudes are measured on images, and there are none")
    return total / count


def default_magnitudes(channels: int, size: tuple[int, int]) -> Tensor:
    """Returns 1 / frequency, as in natural images on average (Field 1987, doi:10.1364/JOSAA.4.002379).

    Args:
        channels: Number of channels.
        size: Height and width of the images in pixels.

    Returns:
        Magnitudes (C, H, W // 2 + 1).
    """
    return (1 / find_frequencies(size, torch.device("cpu"))).expand(channels, -1, -1)


def find_frequencies(size: tuple[int, int], device: torch.device) -> Tensor:
    """Returns the frequencies of an rfft2 in cycles per pixel (H, W // 2 + 1); 0 is replaced by 1 / max(size)."""
    height, width = size
    down = torch.fft.fftfreq(height, device=device)[:, None]
    right = torch.fft.rfftfreq(width, device=device)
    frequency: Tensor = torch.hypot(down, right)
    return frequency.clamp_min(1 / max(size))


def mix_colors(images: Tensor, axes: Tensor) -> Tensor:
    """Multiplies the color of each pixel by a matrix.

    Args:
        images: (N, C, H, W).
        axes: (C, C); a row holds the weights of the channels in one color.

    Returns:
        (N, C, H, W).
    """
    return (axes @ images.flatten(2)).view(images.shape)


def _scaled_axes(like: Tensor) -> Tensor:
    """Lucid's axes, scaled so that the longest has length one: (C, C)."""
    axes = _axes(like, COLOR_AXES)
    longest: Tensor = axes.norm(dim=0).max()
    return axes / longest


def _axes(like: Tensor, axes: tuple[tuple[float, ...], ...]) -> Tensor:
    """The axes for images of three channels; the identity for another number of channels: (C, C)."""
    if like.shape[1] != len(axes):
        return torch.eye(like.shape[1], device=like.device)
    return torch.tensor(axes, device=like.device)


def _standardize(tensor: Tensor) -> Tensor:
    """Zero mean and unit variance over the last three axes, (C, H, W)."""
    deviation, mean = torch.std_mean(tensor, (-3, -2, -1), keepdim=True)
    return (tensor - mean) / (deviation + 1e-4)
