"""From a decoded picture to what a network sees of it, and back."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from shared.catalogue import Preprocessing
from shared.errors import UnloadableModel, UnreadableImage
from shared.pictures import decode_picture, explain_channels, fits_channels

MOST_PICTURES = 200
"""Of a folder: their mean spectrum changes no more."""


Levels = NDArray[np.uint8]
"""A picture in 8 bits, (H, W, C)."""


def to_levels(values: NDArray[Any], preprocessing: Preprocessing) -> tuple[Levels, float]:
    """A decoded picture (H, W, C) in 8 bits and the network's channels.

    Args:
        values: Levels, or numbers in the units of the preprocessing's range.

    Returns:
        The levels, and which part of the values lay outside the range and were clipped to it.

    Raises:
        UnreadableImage: The picture has other channels than the network takes.
    """
    wanted, outside = preprocessing.channels, 0.0
    if not fits_channels(values.shape[2], wanted):
        raise UnreadableImage(explain_channels(values.shape[2], wanted))
    if values.dtype != np.uint8:
        low, high = preprocessing.range
        outside = float(((values < low) | (values > high)).mean())
        values = np.rint((np.clip(values, low, high) - low) * (255 / (high - low))).astype(np.uint8)
    if values.shape[2] == wanted:
        return values, outside
    if wanted == 1:
        return np.asarray(Image.fromarray(values).convert("L"))[..., None], outside
    return np.repeat(values, wanted, axis=2), outside


def read_folder(folder: Path, preprocessing: Preprocessing) -> Iterator[Levels]:
    """The operator's own pictures of a folder (H, W, C), in the order of their names.

    Raises:
        UnloadableModel: A file is no picture.
    """
    for path in sorted(folder.iterdir())[:MOST_PICTURES]:
        try:
            yield to_levels(decode_picture(path.read_bytes(), max_pixels=sys.maxsize)[0], preprocessing)[0]
        except (OSError, UnreadableImage) as error:
            raise UnloadableModel(
                f"{path.name} in the catalogue's folder of pictures is no picture: {error}"
            ) from error


def to_tensor(view: NDArray[np.uint8]) -> Tensor:
    """Levels (H, W, C) to a picture (C, H, W) in 0..1."""
    return torch.from_numpy(np.array(view)).permute(2, 0, 1).float() / 255
