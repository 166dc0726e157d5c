"""Transforms: random views of an image that the network receives at each step.

An image that maximizes the objective in many views does not depend on single pixels. `Window`, `BoxCrop`, `Roll` and
`Noise` transform the whole batch at once. `Chain` transforms the images one by one through small steps whose output
sizes are random, as lucid does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

Size = tuple[int, int]
"""Height and width in pixels."""


class Transform(Protocol):
    """A random view of images."""

    @property
    def draws(self) -> int:
        """Random numbers that each image needs per step."""

    def __call__(self, images: Tensor, random: Tensor) -> Tensor:
        """Computes views (N, C, h, w) of images (N, C, H, W) from random numbers (N, draws) in 0..1 on the CPU."""


def fit(images: Tensor, size: Size) -> Tensor:
    """Scales images by bilinear interpolation.

    Args:
        images: (N, C, H, W), any range.
        size: Height and width of the result in pixels.

    Returns:
        (N, C, h, w); the images themselves if they have this size.
    """
    if tuple(images.shape[2:]) == size:
        return images
    return functional.interpolate(images, size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Window:
    """A window of random scale, rotation and position, sampled at the network's input size in one step.

    Attributes:
        size: Height and width of the views in pixels.
        scale: Minimum and maximum magnification, log-uniform; at 1, a pixel of the image is a pixel of the view.
        degrees: Maximum rotation in either direction.
        draws: Random numbers per image.
    """

    size: Size
    scale: tuple[float, float]
    degrees: float
    draws: int = 4

    def __call__(self, images: Tensor, random: Tensor) -> Tensor:
        """Computes views (N, C, h, w); see `Transform`."""
        random = random.to(images.device, non_blocking=True)
        low, high = (math.log(edge) for edge in self.scale)
        magnification = (low + (high - low) * random[:, 0]).exp()  # (N,)
        angle = math.radians(self.degrees) * (2 * random[:, 1] - 1)
        height, width = images.shape[2:]
        # Half the window's sides, and the shifts that keep it inside, in units of half the image.
        tall = self.size[0] / height / magnification
        wide = self.size[1] / width / magnification
        down = (2 * random[:, 2] - 1) * (1 - tall).clamp_min(0)
        right = (2 * random[:, 3] - 1) * (1 - wide).clamp_min(0)
        cos, sin = angle.cos(), angle.sin()
        aspect = height / width
        rows = torch.stack([cos * wide, -sin * tall * aspect, right, sin * wide / aspect, cos * tall, down], 1)
        shape = [len(images), images.shape[1], *self.size]
        grid = functional.affine_grid(rows.view(-1, 2, 3), shape, align_corners=False)  # (N, h, w, 2)
        return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


@dataclass(frozen=True)
class BoxCrop:
    """A square crop near the center, as MACO takes it (Fel et al. 2023, arXiv 2306.06805).

    The center of the crop is normally distributed around the center of the image with a standard deviation of 0.15 of
    the image; its side is uniformly distributed. It is sampled at twice the network's input size and scaled down.
    Pixels outside the image are black.

    Attributes:
        size: Height and width of the views in pixels.
        side: Minimum and maximum side relative to the image's.
        draws: Random numbers per image.
    """

    size: Size
    side: tuple[float, float]
    draws: int = 5

    def __call__(self, images: Tensor, random: Tensor) -> Tensor:
        """Computes views (N, C, h, w); see `Transform`."""
        random = random.to(images.device, non_blocking=True)
        radius = (-2 * random[:, :2].clamp_min(1e-12).log()).sqrt()  # Box-Muller: two normal from four uniform numbers
        center = 0.5 + 0.15 * radius * (2 * math.pi * random[:, 2:4]).cos()  # (N, 2)
        side = self.side[0] + (self.side[1] - self.side[0]) * random[:, 4]
        height, width = 2 * self.size[0], 2 * self.size[1]
        across = _spread(center[:, 0], side, images.shape[3], width)[:, None, :].expand(-1, height, -1)
        down = _spread(center[:, 1], side, images.shape[2], height)[:, :, None].expand(-1, -1, width)
        grid = torch.stack([across, down], -1)  # (N, 2h, 2w, 2)
        large = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        return functional.interpolate(large, self.size, mode="bicubic", align_corners=True, antialias=True)


@dataclass(frozen=True)
class Roll:
    """A cyclic shift by a random number of pixels, cut to the views' size.

    Attributes:
        size: Height and width of the views in pixels.
        pixels: Maximum shift in either direction; 0 for no shift.
        draws: Random numbers per image.
    """

    size: Size
    pixels: int
    draws: int = 2

    def __call__(self, images: Tensor, random: Tensor) -> Tensor:
        """Computes views (N, C, h, w); see `Transform`."""
        if not self.pixels:
            return images[..., : self.size[0], : self.size[1]]
        height, width = images.shape[2:]
        shift = ((2 * random - 1) * self.pixels).round().long()  # (N, 2), on the CPU
        rows = (torch.arange(self.size[0]) + shift[:, :1]) % height  # (N, h)
        columns = (torch.arange(self.size[1]) + shift[:, 1:]) % width  # (N, w)
        rows, columns = (positions.to(images.device, non_blocking=True) for positions in (rows, columns))
        slots = torch.arange(len(images), device=images.device)[:, None, None]
        rolled = images.permute(0, 2, 3, 1)[slots, rows[:, :, None], columns[:, None, :]]  # (N, h, w, C)
        return rolled.permute(0, 3, 1, 2)  # (N, C, h, w)


@dataclass(frozen=True)
class Noise:
    """Added noise: the sum of normal and uniform noise, drawn on the CPU from one random number as a seed.

    Attributes:
        scale: Standard deviation of the normal noise and width of the uniform noise, in units of the images.
        draws: Random numbers per image.
    """

    scale: float
    draws: int = 1

    def __call__(self, images: Tensor, random: Tensor) -> Tensor:
        """Computes views (N, C, h, w); see `Transform`."""
        noise = torch.stack([self._draw(images.shape[1:], float(number)) for number in random[:, 0]])
        return images + noise.to(images.device, non_blocking=True)

    def _draw(self, shape: Sequence[int], number: float) -> Tensor:
        generator = torch.Generator().manual_seed(int(number * 2**24))
        normal, uniform = torch.randn(tuple(shape), generator=generator), torch.rand(tuple(shape), generator=generator)
        return (normal + uniform - 0.5) * self.scale


@dataclass(frozen=True)
class Compose:
    """One transform after another.

    Attributes:
        first: Applied to the images.
        second: Applied to the views that the first gives.
    """

    first: Transform
    second: Transform

    @property
    def draws(self) -> int:
        """Random numbers that each image needs per step."""
        return self.first.draws + self.second.draws

    def __call__(self, images: Tensor, random: Tensor) -> Tensor:
        """Computes views (N, C, h, w); see `Transform`."""
        first, second = random.split([self.first.draws, self.second.draws], 1)
        return self.second(self.first(images, first), second)


class TransformStep(Protocol):
    """One step of a `Chain`: a change of a single image."""

    @property
    def draws(self) -> int:
        """Random numbers that the step needs."""

    def __call__(self, image: Tensor, random: Sequence[float]) -> Tensor:
        """Computes a view (1, C, h, w) of an image (1, C, H, W) from `draws` random numbers in 0..1."""


@dataclass(frozen=True)
class Chain:
    """Steps one after another, with each slot's own random numbers; the result is scaled to the views' size.

    Attributes:
        size: Height and width of the views in pixels.
        parts: The steps; without them, a view is the scaled image.
    """

    size: Size
    parts: tuple[TransformStep, ...] = ()

    @property
    def draws(self) -> int:
        """Random numbers that each image needs per step of the ascent."""
        return sum(part.draws for part in self.parts)

    def __call__(self, images: Tensor, random: Tensor) -> Tensor:
        """Computes views (N, C, h, w); see `Transform`."""
        if not self.parts:
            return fit(images, self.size)
        return torch.cat([self._view(images[slot : slot + 1], random[slot].tolist()) for slot in range(len(images))])

    def _view(self, image: Tensor, random: list[float]) -> Tensor:
        used = 0
        for part in self.parts:
            image = part(image, random[used : used + part.draws])
            used += part.draws
        return fit(image, self.size)


@dataclass(frozen=True)
class Pad:
    """A border: of one value, or the reflection of the image.

    Attributes:
        pixels: Width of the border.
        fill: Value of the border; None for the reflection.
        draws: Random numbers per image.
    """

    pixels: int
    fill: float | None = None
    draws: int = 0

    def __call__(self, image: Tensor, random: Sequence[float]) -> Tensor:  # noqa: ARG002
        """Computes a view (1, C, h, w); see `TransformStep`."""
        border = [self.pixels] * 4
        if self.fill is None:
            if self.pixels >= min(image.shape[2:]):
                raise ValueError(f"an image of {tuple(image.shape[2:])} has no reflection of {self.pixels} pixels")
            return functional.pad(image, border, mode="reflect")
        return functional.pad(image, border, value=self.fill)


@dataclass(frozen=True)
class Jitter:
    """A crop at a random position that is a number of pixels smaller than the image: it moves without padding.

    Attributes:
        pixels: Rows and columns that are removed.
        draws: Random numbers per image.
    """

    pixels: int
    draws: int = 2

    def __call__(self, image: Tensor, random: Sequence[float]) -> Tensor:
        """Computes a view (1, C, h, w); see `TransformStep`."""
        height, width = image.shape[2] - self.pixels, image.shape[3] - self.pixels
        if min(height, width) < 1:
            raise ValueError(f"a jitter of {self.pixels} pixels leaves nothing of an image of {tuple(image.shape[2:])}")
        return _cut(image, (height, width), random)


@dataclass(frozen=True)
class Crop:
    """A crop of a given size at a random position; no larger than the image.

    Attributes:
        size: Height and width in pixels.
        draws: Random numbers per image.
    """

    size: Size
    draws: int = 2

    def __call__(self, image: Tensor, random: Sequence[float]) -> Tensor:
        """Computes a view (1, C, h, w); see `TransformStep`."""
        return _cut(image, (min(self.size[0], image.shape[2]), min(self.size[1], image.shape[3])), random)


@dataclass(frozen=True)
class Scale:
    """A change of size by a randomly chosen factor; the size is rounded down.

    Attributes:
        factors: The factors to choose from.
        draws: Random numbers per image.
    """

    factors: tuple[float, ...]
    draws: int = 1

    def __call__(self, image: Tensor, random: Sequence[float]) -> Tensor:
        """Computes a view (1, C, h, w); see `TransformStep`."""
        factor = _pick(self.factors, random[0])
        return fit(image, (max(1, int(image.shape[2] * factor)), max(1, int(image.shape[3] * factor))))


@dataclass(frozen=True)
class Rotate:
    """A rotation around the center by a randomly chosen angle; pixels outside the image are black.

    Attributes:
        degrees: The angles to choose from.
        draws: Random numbers per image.
    """

    degrees: tuple[float, ...]
    draws: int = 1

    def __call__(self, image: Tensor, random: Sequence[float]) -> Tensor:
        """Computes a view (1, C, h, w); see `TransformStep`."""
        angle = math.radians(_pick(self.degrees, random[0]))
        height, width = image.shape[2:]
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = torch.tensor(
            [[[cos, -sin * height / width, 0], [sin * width / height, cos, 0]]], device=image.device
        )  # (1, 2, 3)
        grid = functional.affine_grid(matrix, list(image.shape), align_corners=False)
        return functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _spread(center: Tensor, side: Tensor, pixels: int, count: int) -> Tensor:
    """The centers of `count` bins across a box (N, count), where -1 and 1 are the first and the last pixel."""
    bins = (torch.arange(count, device=center.device) + 0.5) / count - 0.5
    positions = (center[:, None] + side[:, None] * bins) * pixels
    return positions * 2 / (pixels - 1) - 1


def _cut(image: Tensor, size: Size, random: Sequence[float]) -> Tensor:
    top = min(int(random[0] * (image.shape[2] - size[0] + 1)), image.shape[2] - size[0])
    left = min(int(random[1] * (image.shape[3] - size[1] + 1)), image.shape[3] - size[1])
    return image[..., top : top + size[0], left : left + size[1]]


def _pick(choices: tuple[float, ...], random: float) -> float:
    return choices[min(int(random * len(choices)), len(choices) - 1)]
