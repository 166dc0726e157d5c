"""Decodes images from untrusted bytes, and explains what is wrong with those that cannot be decoded."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from archetype.contract.problem import FieldError
from archetype.contract.upload import ARRAY
from shared.errors import TooLarge, UnreadableImage
from shared.media.array import MAGIC, read_array
from shared.media.bands import map_image_bands
from shared.media.depth import WHITE, find_white, read_deep
from shared.media.metadata import Essentials, strip_metadata
from shared.media.unsupported import find_unsupported_planes, name_kind

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

MAX_SIDE = 30_000
"""Pixels. An image that is one pixel high must not be a million pixels wide, even if its area is small."""

TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


@dataclass(frozen=True)
class ImageFacts:
    """Facts about an image file.

    Attributes:
        format: Name of the format.
        width: Width in pixels, upright.
        height: Height in pixels, upright.
        channels: Number of channels.
        white: The value of white that a file of 16 bits per value states; None if it states none.
    """

    format: str
    width: int
    height: int
    channels: int = 3
    white: int | None = None


def decode_image(data: bytes, *, max_pixels: int) -> tuple[NDArray[Any], ImageFacts]:
    """Decodes an image file.

    Gray, palette, transparent, CMYK and rotated images are converted to upright RGB; transparent pixels become white. A
    NumPy array keeps its channels. Metadata other than the orientation is not read.

    Args:
        data: The file.
        max_pixels: Largest allowed width times height; checked before any pixel is decoded.

    Returns:
        The pixels, of shape `(H, W, C)`, and the facts about the file. Image formats have C = 3. The values are uint8
        if the file has 8 bits per value or fewer; uint16 if it has up to 16; otherwise float32, as in the file.

    Raises:
        UnreadableImage: The file is empty, truncated, damaged or of an unknown format.
        TooLarge: The image has too many pixels.
        MemoryError: The process has too little memory for the image.
    """
    values, facts = decode_compact(data, max_pixels=max_pixels)
    return expand_gray(values, facts), facts


def decode_compact(data: bytes, *, max_pixels: int) -> tuple[NDArray[Any], ImageFacts]:
    """Decodes an image file as `decode_image` does; one channel stands for three equal ones."""
    with _explained(data, max_pixels):
        if data.startswith(MAGIC):
            return _decode_array(data, max_pixels)
        essentials = strip_metadata(data)
        opened = _open(essentials, max_pixels)
        values = _read_values(opened, essentials)
        white = None
        if values.dtype == np.uint16:
            white = find_white(values, essentials.bits, may_be_scaled=opened.format == "PNG")
        upright = turn_upright(values, essentials.orientation)
        return upright, replace(_describe(opened, essentials), white=white)


def expand_gray(values: NDArray[Any], facts: ImageFacts) -> NDArray[Any]:
    """Returns the pixels (H, W, C) with as many channels as the facts say, without a copy."""
    return np.broadcast_to(values, (*values.shape[:2], facts.channels))


def describe_image(data: bytes, *, max_pixels: int) -> ImageFacts:
    """Decodes an image file for its facts alone, except for the white of 16 bits; raises as `decode_image`."""
    with _explained(data, max_pixels):
        if data.startswith(MAGIC):
            return _decode_array(data, max_pixels)[1]
        essentials = strip_metadata(data)
        opened = _open(essentials, max_pixels)
        if opened.mode == "F":
            _read_values(opened, essentials)
        else:
            opened.load()
        return _describe(opened, essentials)


@contextmanager
def _explained(data: bytes, max_pixels: int) -> Iterator[None]:
    """Turns every exception about a file into a problem that says what is wrong with it."""
    if not data:
        raise _unreadable("the file is empty", "0 bytes")
    given = f"{len(data)} bytes"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit is checked, and damaged files are refused
            yield
    except Image.DecompressionBombError as error:
        raise _too_large(f"more than {max_pixels} pixels", max_pixels) from error
    except UnidentifiedImageError as error:
        name = name_kind(data)
        detail = f"the file is an image of another kind: {name}" if name else "the file is not an image"
        raise _unreadable(detail, given) from error
    except (TooLarge, UnreadableImage, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly any error on damaged files, and numpy on headers
        if "out of memory" in str(error):  # as Pillow reports it for some decoders
            raise MemoryError from error
        kinds = "NumPy array of an image" if data.startswith(MAGIC) else f"{', '.join(FORMATS)} image"
        raise _unreadable(f"the file is not a complete {kinds}: {error}", given) from error


def _decode_array(data: bytes, max_pixels: int) -> tuple[NDArray[Any], ImageFacts]:
    values = read_array(data, lambda size: _check_size(size, max_pixels))
    height, width, channels = values.shape
    return values, ImageFacts(ARRAY, width, height, channels)


def _open(essentials: Essentials, max_pixels: int) -> ImageFile.ImageFile:
    """Opens an image file, without decoding a pixel."""
    opened = Image.open(io.BytesIO(essentials.data), formats=FORMATS)
    _check_size(opened.size, max_pixels)
    planes = find_unsupported_planes(essentials.data) if opened.format == "TIFF" else None
    if planes is not None:
        raise _unreadable(f"the file is an image of another kind: {planes}", f"{len(essentials.data)} bytes")
    return opened


def _describe(opened: ImageFile.ImageFile, essentials: Essentials) -> ImageFacts:
    width, height = opened.size
    if essentials.orientation in TRANSPOSED:
        width, height = height, width
    kind = (opened.format or "").replace("MPO", "JPEG")  # MPO is JPEG with further images after the first
    return ImageFacts(kind, width, height)


def _read_values(opened: ImageFile.ImageFile, essentials: Essentials) -> NDArray[Any]:
    """The values of an image, not yet upright: (H, W, 3), or (H, W, 1) for equal channels."""
    deep = read_deep(opened, lambda: Image.open(io.BytesIO(essentials.data), formats=FORMATS))
    if deep is None:
        opened.load()
        return map_image_bands([opened], lambda band: np.asarray(convert_to_rgb(band)), channels=3, kind=np.uint8)
    if deep.dtype == np.uint16:
        return np.subtract(np.uint16(WHITE), deep, out=deep) if essentials.is_negative else deep
    if not np.isfinite(deep).all():
        raise _unreadable("some values of the image are not finite", f"{len(essentials.data)} bytes")
    return deep


def turn_upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turns an image (H, W, C) by its EXIF orientation, 1 to 8."""
    if orientation == 1:
        return values
    if orientation in TRANSPOSED:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def fits_channels(given: int, expected: int) -> bool:
    """Whether a network that expects so many channels accepts the image; gray and RGB are converted to each other."""
    return given == expected or {given, expected} == {1, 3}


def explain_channels(given: int, expected: int) -> str:
    """What is wrong, and what to do, if `fits_channels` is false."""
    return (
        f"the image has {given} channels and the network expects {expected}; "
        f"upload a NumPy array (.npy) of shape (height, width, {expected})"
    )


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of at most 8 bits per value to RGB; transparent pixels become white."""
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(background, layer).convert("RGB")
    return image.convert("RGB")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels or max(size) > MAX_SIDE:
        raise _too_large(f"{width} x {height} pixels", max_pixels)
    if min(size) < 1:
        raise _unreadable("the image has no pixels", f"{width} x {height}")


def _too_large(given: str, max_pixels: int) -> TooLarge:
    return TooLarge(
        f"the image has {given}; the limits are {max_pixels} in total and {MAX_SIDE} per side: send a smaller image",
        FieldError(field="file", detail="too many pixels", given=given, allowed=max_pixels),
    )


def _unreadable(detail: str, given: str) -> UnreadableImage:
    error = FieldError(field="file", detail="not a readable image", given=given, allowed=[*FORMATS, ARRAY])
    return UnreadableImage(
        f"{detail}; send a complete image in one of the formats {', '.join([*FORMATS, ARRAY])}", error
    )
