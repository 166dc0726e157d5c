"""Views: the part of an image that a network sees, and the way from the view back to the pixels of the image.

The request's `view` (`ViewMode`) selects which part that is; see `apply_view_mode`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archetype.contract.model import Preprocessing
from archetype.contract.parameters.types import ViewMode
from worker.inputs.preprocess import Levels

Area = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, counted from the outer edge of the first pixel."""

MAX_MARGIN_RATIO = 4
"""Longest margin of a framed view, in sides of the view: the far ends of a very long image are left out."""

KERNELS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class View:
    """The part of an image that a network sees, at the input size of the network.

    The position x in the view, in its own pixels, is the position left + x · (right − left) / width in the image.

    Attributes:
        levels: The pixels of the view, (h, w, C).
        area: The part of the image, in its pixels.
        size: Height and width of the image, upright.
    """

    levels: Levels
    area: Area
    size: tuple[int, int]

    def put_back(self, levels: Levels) -> Levels:
        """Returns an image of which the network sees this changed view (h, w, C)."""
        return levels

    def place_box(self, box: Area) -> Area:
        """Converts a box of the view to the pixels of the image."""
        left, top, right, bottom = self.area
        across, down = (right - left) / self.levels.shape[1], (bottom - top) / self.levels.shape[0]
        return (left + box[0] * across, top + box[1] * down, left + box[2] * across, top + box[3] * down)

    def place_map(self, values: NDArray[np.float32], size: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Converts a map of the view (h, w) to a map of the image (H, W), which is 0 outside the view.

        Args:
            values: The map of the view.
            size: Height and width of the result; None for those of the image.
        """
        height, width = size or self.size
        left, top, right, bottom = self.area
        # The center of each pixel of the result, in the pixels of the map.
        columns = ((np.arange(width) + 0.5) * self.size[1] / width - left) * values.shape[1] / (right - left)
        rows = ((np.arange(height) + 0.5) * self.size[0] / height - top) * values.shape[0] / (bottom - top)
        inside = np.outer((rows >= 0) & (rows <= values.shape[0]), (columns >= 0) & (columns <= values.shape[1]))
        x, y = np.meshgrid((columns - 0.5).astype(np.float32), (rows - 0.5).astype(np.float32))
        placed = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.where(inside, placed, np.float32(0))


OpenView = Callable[[Levels], View]
"""Returns a view of an image (H, W, C)."""


@dataclass(frozen=True)
class FramedView(View):
    """A view with its margins: the resized image that the view is cropped from.

    Attributes:
        resized: The resized image, (H, W, C).
        corner: Top and left of the view in it.
    """

    resized: Levels
    corner: tuple[int, int]

    def put_back(self, levels: Levels) -> Levels:
        """Returns the resized image with this changed view (h, w, C) in its place."""
        top, left = self.corner
        resized = self.resized.copy()
        resized[top : top + levels.shape[0], left : left + levels.shape[1]] = levels
        return resized


@dataclass(frozen=True)
class ViewWithImage(View):
    """A view with the image that it was made from.

    Attributes:
        image: The image in its own pixels, (H, W, C).
    """

    image: Levels


def open_view(image: Levels, preprocessing: Preprocessing) -> View:
    """Returns the view of an image (H, W, C) that the network sees after its usual preprocessing."""
    height, width = image.shape[:2]
    return View(crop_levels(image, preprocessing), find_area((height, width), preprocessing), (height, width))


def crop_levels(levels: Levels, preprocessing: Preprocessing) -> Levels:
    """Returns the pixels (h, w, C) of the view that `open_view` opens of an image (H, W, C)."""
    height, width = preprocessing.size
    area = find_area(levels.shape[:2], preprocessing)
    if area == (0, 0, width, height) == (0, 0, levels.shape[1], levels.shape[0]):
        return levels
    return resize(levels, (height, width), preprocessing, area)


def resize(levels: Levels, size: tuple[int, int], preprocessing: Preprocessing, area: Area) -> Levels:
    """Resizes a part of an image (H, W, C) to a height and width, with the interpolation of the preprocessing."""
    left, top, right, bottom = area
    box = (max(0.0, left), max(0.0, top), min(right, levels.shape[1]), min(bottom, levels.shape[0]))
    kernel = KERNELS[preprocessing.interpolation]
    planes = [
        np.asarray(Image.fromarray(plane).resize(size[::-1], kernel, box=box)) for plane in np.moveaxis(levels, 2, 0)
    ]
    return np.stack(planes, axis=2)


def find_area(size: tuple[int, ...], preprocessing: Preprocessing) -> Area:
    """Returns the part that the network sees of an image of this height and width, in the pixels of the image.

    The crop is computed in these pixels, so that an image one pixel high is never enlarged as a whole.
    """
    height, width = size
    view_height, view_width = preprocessing.size
    if preprocessing.fit != "crop":
        shorter = min(view_height, view_width)
        kept = shorter / max(shorter, preprocessing.resize or 0) if preprocessing.fit == "stretch_crop" else 1.0
        top, left = height * (1 - kept) / 2, width * (1 - kept) / 2
        return left, top, width - left, height - top
    scale = max(view_height / height, view_width / width)
    if preprocessing.resize is not None:
        scale = max(scale, preprocessing.resize / min(size))
    resized = max(view_height, round(height * scale)), max(view_width, round(width * scale))
    top, left = (resized[0] - view_height) // 2, (resized[1] - view_width) // 2
    down, across = resized[0] / height, resized[1] / width
    right, bottom = (left + view_width) / across, (top + view_height) / down
    return max(0.0, left / across), max(0.0, top / down), min(float(width), right), min(float(height), bottom)


def open_framed(image: Levels, preprocessing: Preprocessing) -> FramedView:
    """Returns the view of an image (H, W, C), with the resized image that it is cropped from."""
    size = (image.shape[0], image.shape[1])
    view_height, view_width = preprocessing.size
    left, top, right, bottom = find_area(size, preprocessing)
    down, across = view_height / (bottom - top), view_width / (right - left)
    above, below = _limit(round(top * down), round((size[0] - bottom) * down), view_height)
    before, after = _limit(round(left * across), round((size[1] - right) * across), view_width)
    area = (left - before / across, top - above / down, right + after / across, bottom + below / down)
    resized = resize(image, (above + view_height + below, before + view_width + after), preprocessing, area)
    levels = resized[above : above + view_height, before : before + view_width]
    return FramedView(levels, (left, top, right, bottom), size, resized, (above, before))


def _limit(before: int, after: int, side: int) -> tuple[int, int]:
    """Returns the margins on both sides of a view in pixels; both are cut to the same length if one is too long."""
    longest = MAX_MARGIN_RATIO * side
    return (before, after) if max(before, after) <= longest else (longest, longest)


def open_with_image(image: Levels, preprocessing: Preprocessing) -> ViewWithImage:
    """Returns the view of an image (H, W, C), with the image."""
    view = open_view(image, preprocessing)
    return ViewWithImage(view.levels, view.area, view.size, image)


def open_at(image: Levels, preprocessing: Preprocessing, longest: int) -> View:
    """Returns a view of all of an image (H, W, C), whose longest side has this many pixels."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    area = (0.0, 0.0, float(width), float(height))
    return View(resize(image, size, preprocessing, area), area, (height, width))


def apply_view_mode(preprocessing: Preprocessing, mode: ViewMode) -> Preprocessing:
    """Returns the preprocessing for a view mode: `crop` keeps it; `whole` stretches all of the image to the input."""
    return preprocessing if mode == "crop" else preprocessing.model_copy(update={"fit": "stretch", "resize": None})
