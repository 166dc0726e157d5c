"""Preprocessing: from the bytes of a file to an 8-bit image in the channels of a network, and to a tensor."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from archetype.contract.model import Preprocessing
from shared.errors import UnloadableModel, UnreadableImage
from shared.media.depth import WHITE
from shared.media.image import decode_image, explain_channels, fits_channels
from shared.storage.uploads import Uploads
from worker.inputs.decoding import Decode

MAX_FOLDER_IMAGES = 200
"""Number of images that are read from a folder: with more, their mean spectrum no longer changes."""

LESSER_DEPTHS = (10, 12, 14)
"""Bits per value of cameras and scanners whose images are stored with 16 bits."""

Levels = NDArray[np.uint8]
"""An image with 8 bits per channel, (H, W, C)."""


@dataclass(frozen=True)
class ImageReader:
    """Reads the images of a job, and adds a warning to its metrics if values are out of the range of the network.

    Attributes:
        uploads: The uploads of the tenant.
        preprocessing: The preprocessing of the network.
        decode_file: Decodes a file; in a child process with limits.
        warn: Adds a warning to the metrics of the job.
    """

    uploads: Uploads
    preprocessing: Preprocessing
    decode_file: Decode
    warn: Callable[[str], None]

    def load(self, image_id: str) -> Levels:
        """Loads an uploaded image (H, W, C) in the channels of the network."""
        return self.decode(self.uploads.load_image(image_id))

    def decode(self, data: bytes) -> Levels:
        """Decodes a file to an image (H, W, C) in the channels of the network.

        Raises:
            UnreadableImage: The file fails the same checks as on upload, or has other channels than the network.
        """
        values, facts = self.decode_file(data)
        levels, clipped = to_levels(values, self.preprocessing, white=facts.white)
        if clipped:
            low, high = self.preprocessing.range
            self.warn(f"{clipped:.1%} of the values of an image lie outside {low:g} to {high:g} and were clipped")
        elif (doubt := explain_dark_image(values, facts.white, self.preprocessing)) is not None:
            self.warn(doubt)
        return levels


def read_folder(folder: Path, preprocessing: Preprocessing) -> Iterator[Levels]:
    """Reads the images (H, W, C) of a folder of the operator, ordered by name.

    Raises:
        UnloadableModel: A file is not an image.
    """
    for path in sorted(folder.iterdir())[:MAX_FOLDER_IMAGES]:
        try:
            values, facts = decode_image(path.read_bytes(), max_pixels=sys.maxsize)
            yield to_levels(values, preprocessing, white=facts.white)[0]
        except (OSError, UnreadableImage) as error:
            raise UnloadableModel(
                f"{path.name} in the catalogue's folder of images is not an image: {error}"
            ) from error


def to_levels(values: NDArray[Any], preprocessing: Preprocessing, *, white: int | None = None) -> tuple[Levels, float]:
    """Converts a decoded image (H, W, C) to 8 bits and the channels of a network.

    Args:
        values: uint8: levels from black to white. uint16: values in the units of the preprocessing's range, if that is
            wider than 8 bits, otherwise from black, which is 0, to white. Other numbers: in the units of the range.
        preprocessing: The preprocessing of the network.
        white: The value of white in an image of 16 bits; None for 65535.

    Returns:
        The image, and the fraction of its values that were outside the range and were clipped to it.

    Raises:
        UnreadableImage: The image has other channels than the network.
    """
    channels, clipped = preprocessing.channels, 0.0
    if not fits_channels(values.shape[2], channels):
        raise UnreadableImage(explain_channels(values.shape[2], channels))
    if values.dtype == np.uint16:
        values, clipped = _reduce_depth(values, preprocessing, white or WHITE)
    elif values.dtype != np.uint8:
        low, high = preprocessing.range
        clipped = float(((values < low) | (values > high)).mean())
        values = np.rint((np.clip(values, low, high) - low) * (255 / (high - low))).astype(np.uint8)
    if values.shape[2] == channels:
        return values, clipped
    if channels == 1:
        return np.asarray(Image.fromarray(values).convert("L"))[..., None], clipped
    return np.repeat(values, channels, axis=2), clipped


def _reduce_depth(values: NDArray[np.uint16], preprocessing: Preprocessing, white: int) -> tuple[Levels, float]:
    """Converts an image (H, W, C) of 16 bits to 8 bits, with the fraction of its values that were clipped."""
    low, high = preprocessing.range if has_deep_range(preprocessing) else (0.0, float(white))
    numbers = np.arange(WHITE + 1, dtype=np.float64)
    outside = (numbers < low) | (numbers > high)
    # Lookup tables, because a copy of the image in floats would need four times its memory.
    table = np.rint((np.clip(numbers, low, high) - low) * (255 / (high - low))).astype(np.uint8)
    return table[values], float(outside[values].mean()) if outside.any() else 0.0


def has_deep_range(preprocessing: Preprocessing) -> bool:
    """Whether the range of a network is wider than 8 bits, so that it gives the units of images of 16 bits."""
    low, high = preprocessing.range
    return high - low > 255


def explain_dark_image(values: NDArray[Any], white: int | None, preprocessing: Preprocessing) -> str | None:
    """Explains that an image may be too dark, because its file does not say that it has fewer than 16 bits.

    Args:
        values: The decoded image (H, W, C).
        white: The value of white that the file states.
        preprocessing: The preprocessing of the network.

    Returns:
        A sentence; None if the image has 8 bits, is brighter, or its units are known.
    """
    if values.dtype != np.uint16 or white is not None or has_deep_range(preprocessing):
        return None
    top = int(values.max())
    bits = next((bits for bits in LESSER_DEPTHS if 0 < top < 1 << bits), None)
    if bits is None:
        return None
    return (
        f"the largest value of an image of 16 bits is {top}, so that it is dark; if it has {bits} bits, scale its "
        f"values to {WHITE}, or declare (0, {(1 << bits) - 1}) as the range of the network, with mean and std in these "
        "units"
    )


def to_tensor(levels: NDArray[np.uint8]) -> Tensor:
    """Converts an 8-bit image (H, W, C) to a tensor (C, H, W) in 0..1."""
    return torch.from_numpy(np.array(levels)).permute(2, 0, 1).float() / 255


def shrink(levels: Levels, side: int) -> Levels:
    """Resizes an image (H, W, C) so that its longest side is at most `side` pixels; a smaller one is returned as is."""
    scale = side / max(levels.shape[:2])
    if scale >= 1:
        return levels
    size = (max(1, round(levels.shape[1] * scale)), max(1, round(levels.shape[0] * scale)))
    small = np.asarray(cv2.resize(levels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small.reshape(*small.shape[:2], -1)  # OpenCV drops an axis of one channel
