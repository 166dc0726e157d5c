"""Converts an image a band of rows at a time, so that no copy of the whole image is needed in between."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BAND_PIXELS = 1 << 19


def map_bands(
    images: Sequence[Image.Image], convert: Callable[..., NDArray[Any]], *, channels: int, kind: type[np.generic]
) -> NDArray[Any]:
    """Converts decoded images.

    Args:
        images: Images of the same size.
        convert: Gets the pixels of the same rows of each image; returns those rows (h, W, C) of the result.
        channels: Number of channels of the result.
        kind: Type of its values.

    Returns:
        The result, (H, W, C).
    """
    return map_image_bands(images, lambda *bands: convert(*map(np.asarray, bands)), channels=channels, kind=kind)


def map_image_bands(
    images: Sequence[Image.Image], convert: Callable[..., NDArray[Any]], *, channels: int, kind: type[np.generic]
) -> NDArray[Any]:
    """Converts decoded images as `map_bands` does; `convert` gets the rows as images."""
    width, height = images[0].size
    result = np.empty((height, width, channels), kind)
    for top, bottom in _list_bands(width, height):
        result[top:bottom] = convert(*(image.crop((0, top, width, bottom)) for image in images))
    return result


def _list_bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)
