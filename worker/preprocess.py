"""From a decoded picture to what a network sees of it, and back."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from shared.catalogue import Preprocessing
from shared.errors import UnloadableModel

MOST_PICTURES = 200
"""Of a folder: their mean spectrum changes no more."""


Levels = NDArray[np.uint8]
"""A picture in 8 bits, (H, W, C)."""


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


def open_view(picture: Image.Image, preprocessing: Preprocessing) -> View:
    """The part of an RGB picture that the network sees, at the network's size and in its channels, 1 or 3."""
    levels = np.asarray(picture.convert("L") if len(preprocessing.mean) == 1 else picture)
    levels = levels.reshape(picture.height, picture.width, -1)
    area = find_area((picture.height, picture.width), preprocessing)
    return View(crop_levels(levels, preprocessing), area, (picture.height, picture.width))


def crop_view(picture: Image.Image, preprocessing: Preprocessing) -> Levels:
    """What `open_view` shows of a picture (h, w, C)."""
    return open_view(picture, preprocessing).levels


def crop_levels(levels: Levels, preprocessing: Preprocessing) -> Levels:
    """The part of a picture of any channels that the network sees, at the network's size."""
    height, width = preprocessing.size
    area = find_area(levels.shape[:2], preprocessing)
    if area == (0, 0, width, height) == (0, 0, levels.shape[1], levels.shape[0]):
        return levels
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR, box=area))
        for plane in np.moveaxis(levels, 2, 0)
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


def read_folder(folder: Path) -> Iterator[Image.Image]:
    """The operator's own pictures of a folder, in the order of their names.

    Raises:
        UnloadableModel: A file is no picture.
    """
    for path in sorted(folder.iterdir())[:MOST_PICTURES]:
        try:
            yield Image.open(path).convert("RGB")
        except OSError as error:
            raise UnloadableModel(
                f"{path.name} in the catalogue's folder of pictures is no picture: {error}"
            ) from error


def to_tensor(view: NDArray[np.uint8]) -> Tensor:
    """Pixels (H, W, 3) to a picture (3, H, W) in 0..1."""
    return torch.from_numpy(np.array(view)).permute(2, 0, 1).float() / 255
