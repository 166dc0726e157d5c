"""What a network is shown of a picture, and the way back into the picture's own pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.catalogue import Preprocessing
from worker.preprocess import Levels

LONGEST = 4
"""How many times as long as the network's input a framed picture may be: of a strip, the ends are left out."""

KERNELS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class View:
    """What a network is shown of a picture, and where in the picture that lies.

    Pixels are counted from the outer edge of the first: a place x of the view, in its own pixels, is the place
    left + x · (right − left) / width of the picture.

    Attributes:
        levels: (h, w, C).
        area: Left, top, right and bottom of the part that is shown, in the picture's pixels.
        size: Height and width of the picture, upright.
    """

    levels: Levels
    area: tuple[float, float, float, float]
    size: tuple[int, int]

    def put_back(self, levels: Levels) -> Levels:
        """A changed view as a picture that the network, shown it, sees in just this way."""
        return levels

    def place_box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """A box (left, top, right, bottom) of the view in the picture's pixels."""
        left, top, right, bottom = self.area
        across, down = (right - left) / self.levels.shape[1], (bottom - top) / self.levels.shape[0]
        return (left + box[0] * across, top + box[1] * down, left + box[2] * across, top + box[3] * down)

    def place_map(self, values: NDArray[np.float32], size: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """A map (h, w) of the view as one of the picture (H, W), 0 where the network was shown nothing.

        Args:
            size: Height and width to draw the picture's map at; without it, the picture's own.
        """
        height, width = size or self.size
        left, top, right, bottom = self.area
        # Where the middle of each of the picture's pixels lies in the map.
        columns = ((np.arange(width) + 0.5) * self.size[1] / width - left) * values.shape[1] / (right - left)
        rows = ((np.arange(height) + 0.5) * self.size[0] / height - top) * values.shape[0] / (bottom - top)
        inside = np.outer((rows >= 0) & (rows <= values.shape[0]), (columns >= 0) & (columns <= values.shape[1]))
        x, y = np.meshgrid((columns - 0.5).astype(np.float32), (rows - 0.5).astype(np.float32))
        placed = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.where(inside, placed, np.float32(0))


Opening = Callable[[Levels], View]
"""Gives a view of a picture (H, W, C)."""


@dataclass(frozen=True)
class Framed(View):
    """A view with what lies around it: the picture as large as it is before the view is cropped out of it.

    Attributes:
        whole: (H, W, C).
        corner: Top and left of the view in it.
    """

    whole: Levels
    corner: tuple[int, int]

    def put_back(self, levels: Levels) -> Levels:
        top, left = self.corner
        whole = self.whole.copy()
        whole[top : top + levels.shape[0], left : left + levels.shape[1]] = levels
        return whole


@dataclass(frozen=True)
class Whole(View):
    """A view with the picture that it is of, in its own pixels.

    Attributes:
        picture: (H, W, C).
    """

    picture: Levels


def open_view(picture: Levels, preprocessing: Preprocessing) -> View:
    """The part of a picture (H, W, C) that the network sees, at the network's size."""
    height, width = picture.shape[:2]
    return View(crop_levels(picture, preprocessing), find_area((height, width), preprocessing), (height, width))


def crop_levels(levels: Levels, preprocessing: Preprocessing) -> Levels:
    """What `open_view` shows of a picture (h, w, C)."""
    height, width = preprocessing.size
    area = find_area(levels.shape[:2], preprocessing)
    if area == (0, 0, width, height) == (0, 0, levels.shape[1], levels.shape[0]):
        return levels
    return resize(levels, (height, width), preprocessing, area)


def resize(
    levels: Levels, size: tuple[int, int], preprocessing: Preprocessing, area: tuple[float, float, float, float]
) -> Levels:
    """A part (left, top, right, bottom) of a picture (H, W, C) at another height and width."""
    left, top, right, bottom = area
    box = (max(0.0, left), max(0.0, top), min(right, levels.shape[1]), min(bottom, levels.shape[0]))
    kernel = KERNELS[preprocessing.interpolation]
    planes = [
        np.asarray(Image.fromarray(plane).resize(size[::-1], kernel, box=box)) for plane in np.moveaxis(levels, 2, 0)
    ]
    return np.stack(planes, axis=2)


def find_area(size: tuple[int, ...], preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what the network sees of a picture of this height and width, in its pixels.

    The crop is taken in the picture's own pixels, so that one a pixel high is never blown up whole.
    """
    height, width = size
    if preprocessing.fit == "stretch":
        return 0.0, 0.0, float(width), float(height)
    high, wide = preprocessing.size
    cover = max(high / height, wide / width)
    if preprocessing.resize is not None:
        cover = max(cover, preprocessing.resize / min(size))
    resized = max(high, round(height * cover)), max(wide, round(width * cover))
    top, left = (resized[0] - high) // 2, (resized[1] - wide) // 2
    down, across = resized[0] / height, resized[1] / width
    return (
        max(0.0, left / across), max(0.0, top / down),
        min(float(width), (left + wide) / across), min(float(height), (top + high) / down),
    )  # fmt: skip


def open_framed(picture: Levels, preprocessing: Preprocessing) -> Framed:
    """The picture, resized as the network wants it, and the crop that it sees."""
    size = (picture.shape[0], picture.shape[1])
    high, wide = preprocessing.size
    left, top, right, bottom = find_area(size, preprocessing)
    down, across = high / (bottom - top), wide / (right - left)
    above, below = _limit(round(top * down), round((size[0] - bottom) * down), high)
    before, after = _limit(round(left * across), round((size[1] - right) * across), wide)
    area = (left - before / across, top - above / down, right + after / across, bottom + below / down)
    whole = resize(picture, (above + high + below, before + wide + after), preprocessing, area)
    levels = whole[above : above + high, before : before + wide]
    return Framed(levels, (left, top, right, bottom), size, whole, (above, before))


def _limit(before: int, after: int, side: int) -> tuple[int, int]:
    """The pixels on both sides of a view that are kept: all, or as many on one side as on the other."""
    return (before, after) if max(before, after) <= LONGEST * side else (LONGEST * side, LONGEST * side)


def open_whole(picture: Levels, preprocessing: Preprocessing) -> Whole:
    """What `open_view` shows, with the picture."""
    view = open_view(picture, preprocessing)
    return Whole(view.levels, view.area, view.size, picture)


def open_at(picture: Levels, preprocessing: Preprocessing, longest: int) -> View:
    """All of a picture, its longest side so many pixels."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    area = (0.0, 0.0, float(width), float(height))
    return View(resize(picture, size, preprocessing, area), area, (height, width))
