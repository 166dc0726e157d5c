"""What the network is shown of a picture at each step: a picture must be good in many views, not in one.

`Window` and `Box` sample all pictures of a batch in one go. `Chain` takes them one by one through small parts whose
sizes depend on chance, as lucid has them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

Size = tuple[int, int]


class Transform(Protocol):
    """Shows pictures in a way that random numbers choose."""

    @property
    def draws(self) -> int:
        """How many random numbers each picture needs per step."""

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        """Views (N, C, h, w) of pictures (N, C, H, W), by numbers (N, draws) in 0..1, which lie on the CPU."""


def fit(pictures: Tensor, size: Size) -> Tensor:
    """Pictures (N, C, H, W) at another size, by bilinear interpolation; untouched where they have it."""
    if tuple(pictures.shape[2:]) == size:
        return pictures
    return functional.interpolate(pictures, size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Window:
    """A window onto the picture, scaled, turned and shifted at random, sampled at the network's size in one go.

    Attributes:
        size: Height and width of the views in pixels.
        scale: Least and most magnification, drawn evenly in its logarithm; at 1 a pixel is a pixel.
        degrees: The window is turned by up to so much either way.
    """

    size: Size
    scale: tuple[float, float]
    degrees: float
    draws: int = 4

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        random = random.to(pictures.device, non_blocking=True)
        low, high = (math.log(edge) for edge in self.scale)
        magnification = (low + (high - low) * random[:, 0]).exp()  # (N,)
        angle = math.radians(self.degrees) * (2 * random[:, 1] - 1)
        height, width = pictures.shape[2:]
        # Half of the window's sides, and the room that it has to move in, in units of half the picture.
        tall = self.size[0] / height / magnification
        wide = self.size[1] / width / magnification
        down = (2 * random[:, 2] - 1) * (1 - tall).clamp_min(0)
        right = (2 * random[:, 3] - 1) * (1 - wide).clamp_min(0)
        cos, sin = angle.cos(), angle.sin()
        aspect = height / width
        rows = torch.stack([cos * wide, -sin * tall * aspect, right, sin * wide / aspect, cos * tall, down], 1)
        shape = [len(pictures), pictures.shape[1], *self.size]
        grid = functional.affine_grid(rows.view(-1, 2, 3), shape, align_corners=False)  # (N, h, w, 2)
        return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


@dataclass(frozen=True)
class Box:
    """A square box near the middle, sampled at twice the network's size and shrunk; beyond the picture lies black.

    As Fel et al. 2023 (arXiv 2306.06805) crop: the centre is normal about the middle with a deviation of 0.15 of the
    picture, the side evenly drawn.

    Attributes:
        size: Height and width of the views in pixels.
        side: Least and most side in units of the picture's.
    """

    size: Size
    side: tuple[float, float]
    draws: int = 5

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        random = random.to(pictures.device, non_blocking=True)
        radius = (-2 * random[:, :2].clamp_min(1e-12).log()).sqrt()  # two normal numbers from four even ones
        centre = 0.5 + 0.15 * radius * (2 * math.pi * random[:, 2:4]).cos()  # (N, 2)
        side = self.side[0] + (self.side[1] - self.side[0]) * random[:, 4]
        height, width = 2 * self.size[0], 2 * self.size[1]
        across = _spread(centre[:, 0], side, pictures.shape[3], width)[:, None, :].expand(-1, height, -1)
        down = _spread(centre[:, 1], side, pictures.shape[2], height)[:, :, None].expand(-1, -1, width)
        grid = torch.stack([across, down], -1)  # (N, 2h, 2w, 2)
        large = functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        return functional.interpolate(large, self.size, mode="bicubic", align_corners=True, antialias=True)


class Part(Protocol):
    """One change to one picture."""

    @property
    def draws(self) -> int: ...

    def __call__(self, picture: Tensor, random: Sequence[float]) -> Tensor:
        """A view (1, C, h, w) of a picture (1, C, H, W), by `draws` numbers in 0..1."""


@dataclass(frozen=True)
class Chain:
    """Parts after one another, each slot by its own numbers; what comes out is brought to the network's size.

    Attributes:
        size: Height and width of the views in pixels.
    """

    size: Size
    parts: tuple[Part, ...] = ()

    @property
    def draws(self) -> int:
        return sum(part.draws for part in self.parts)

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        if not self.parts:
            return fit(pictures, self.size)
        return torch.cat(
            [self._show(pictures[slot : slot + 1], random[slot].tolist()) for slot in range(len(pictures))]
        )

    def _show(self, picture: Tensor, random: list[float]) -> Tensor:
        used = 0
        for part in self.parts:
            picture = part(picture, random[used : used + part.draws])
            used += part.draws
        return fit(picture, self.size)


@dataclass(frozen=True)
class Pad:
    """A border of so many pixels: of one value, or the picture's own reflection."""

    pixels: int
    fill: float | None = None
    draws: int = 0

    def __call__(self, picture: Tensor, random: Sequence[float]) -> Tensor:  # noqa: ARG002
        border = [self.pixels] * 4
        if self.fill is None:
            if self.pixels >= min(picture.shape[2:]):
                raise ValueError(f"a picture of {tuple(picture.shape[2:])} has no reflection of {self.pixels} pixels")
            return functional.pad(picture, border, mode="reflect")
        return functional.pad(picture, border, value=self.fill)


@dataclass(frozen=True)
class Jitter:
    """All but so many rows and columns, from a random place: the picture moves, and nothing is invented at its edge."""

    pixels: int
    draws: int = 2

    def __call__(self, picture: Tensor, random: Sequence[float]) -> Tensor:
        height, width = picture.shape[2] - self.pixels, picture.shape[3] - self.pixels
        if min(height, width) < 1:
            raise ValueError(
                f"a jitter of {self.pixels} pixels leaves nothing of a picture of {tuple(picture.shape[2:])}"
            )
        return _cut(picture, (height, width), random)


@dataclass(frozen=True)
class Crop:
    """A part of a given size, from a random place."""

    size: Size
    draws: int = 2

    def __call__(self, picture: Tensor, random: Sequence[float]) -> Tensor:
        return _cut(picture, (min(self.size[0], picture.shape[2]), min(self.size[1], picture.shape[3])), random)


@dataclass(frozen=True)
class Scale:
    """Larger or smaller by one of the factors, the size rounded down."""

    factors: tuple[float, ...]
    draws: int = 1

    def __call__(self, picture: Tensor, random: Sequence[float]) -> Tensor:
        factor = _pick(self.factors, random[0])
        return fit(picture, (max(1, int(picture.shape[2] * factor)), max(1, int(picture.shape[3] * factor))))


@dataclass(frozen=True)
class Rotate:
    """Turned about its middle by one of the angles in degrees; the corners that open are black."""

    degrees: tuple[float, ...]
    draws: int = 1

    def __call__(self, picture: Tensor, random: Sequence[float]) -> Tensor:
        angle = math.radians(_pick(self.degrees, random[0]))
        height, width = picture.shape[2:]
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = torch.tensor(
            [[[cos, -sin * height / width, 0], [sin * width / height, cos, 0]]], device=picture.device
        )
        grid = functional.affine_grid(matrix, list(picture.shape), align_corners=False)
        return functional.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@dataclass(frozen=True)
class Noise:
    """The sum of normal noise of this deviation and of even noise of this width, drawn on the CPU from one number."""

    scale: float
    draws: int = 1

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        drawn = torch.stack([self._draw(pictures.shape[1:], float(seed)) for seed in random[:, 0]])
        return pictures + drawn.to(pictures.device, non_blocking=True)

    def _draw(self, shape: Sequence[int], number: float) -> Tensor:
        generator = torch.Generator().manual_seed(int(number * 2**24))
        normal, even = torch.randn(tuple(shape), generator=generator), torch.rand(tuple(shape), generator=generator)
        return (normal + even - 0.5) * self.scale


@dataclass(frozen=True)
class Roll:
    """The picture moved round, what leaves at one edge coming back at the other, and as much of it as the size holds.

    Attributes:
        size: Height and width of the views in pixels.
        pixels: It moves by up to so many either way.
    """

    size: Size
    pixels: int
    draws: int = 2

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        if not self.pixels:
            return pictures[..., : self.size[0], : self.size[1]]
        height, width = pictures.shape[2:]
        shift = ((2 * random - 1) * self.pixels).round().long()  # (N, 2), on the CPU
        rows = (torch.arange(self.size[0]) + shift[:, :1]) % height  # (N, h)
        columns = (torch.arange(self.size[1]) + shift[:, 1:]) % width  # (N, w)
        rows, columns = (places.to(pictures.device, non_blocking=True) for places in (rows, columns))
        slots = torch.arange(len(pictures), device=pictures.device)[:, None, None]
        rolled = pictures.permute(0, 2, 3, 1)[slots, rows[:, :, None], columns[:, None, :]]  # (N, h, w, C)
        return rolled.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Both:
    """One transform after another."""

    first: Transform
    second: Transform

    @property
    def draws(self) -> int:
        return self.first.draws + self.second.draws

    def __call__(self, pictures: Tensor, random: Tensor) -> Tensor:
        first, second = random.split([self.first.draws, self.second.draws], 1)
        return self.second(self.first(pictures, first), second)


def _spread(centre: Tensor, side: Tensor, pixels: int, count: int) -> Tensor:
    """The middles of `count` bins across a box, where -1 and 1 are the first and the last pixel: (N, count)."""
    bins = (torch.arange(count, device=centre.device) + 0.5) / count - 0.5
    places = (centre[:, None] + side[:, None] * bins) * pixels
    return places * 2 / (pixels - 1) - 1


def _cut(picture: Tensor, size: Size, random: Sequence[float]) -> Tensor:
    top = min(int(random[0] * (picture.shape[2] - size[0] + 1)), picture.shape[2] - size[0])
    left = min(int(random[1] * (picture.shape[3] - size[1] + 1)), picture.shape[3] - size[1])
    return picture[..., top : top + size[0], left : left + size[1]]


def _pick(choices: tuple[float, ...], random: float) -> float:
    return choices[min(int(random * len(choices)), len(choices) - 1)]
