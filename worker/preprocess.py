"""From a decoded picture to what a network sees of it."""

from collections.abc import Iterator
from pathlib import Path

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


def crop_view(picture: Image.Image, preprocessing: Preprocessing) -> Levels:
    """The part of an RGB picture that the network sees, at the network's size and in its channels, 1 or 3."""
    levels = np.asarray(picture.convert("L") if len(preprocessing.mean) == 1 else picture)
    return crop_levels(levels.reshape(picture.height, picture.width, -1), preprocessing)


def crop_levels(levels: Levels, preprocessing: Preprocessing) -> Levels:
    """The part of a picture of any channels that the network sees, at the network's size."""
    planes = [_crop(Image.fromarray(plane), preprocessing) for plane in np.moveaxis(levels, 2, 0)]
    return np.stack(planes, axis=2)


def _crop(picture: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    height, width = preprocessing.size
    if picture.size == (width, height) and preprocessing.resize is None:
        return np.asarray(picture)
    if preprocessing.fit == "stretch":
        return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    cover = max(height / picture.height, width / picture.width)
    if preprocessing.resize is not None:
        cover = max(cover, preprocessing.resize / min(picture.size))
    size = (max(width, round(picture.width * cover)), max(height, round(picture.height * cover)))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    # The crop is taken in the picture's own pixels, so that one a pixel high is never blown up whole.
    box = tuple(edge / scale for edge, scale in zip(
        (left, top, left + width, top + height),
        (size[0] / picture.width, size[1] / picture.height) * 2,
        strict=True,
    ))  # fmt: skip
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=_inside(box, picture)))


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


def _inside(box: tuple[float, ...], picture: Image.Image) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return max(0.0, left), max(0.0, top), min(float(picture.width), right), min(float(picture.height), bottom)
