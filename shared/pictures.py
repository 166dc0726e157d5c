"""Reads a picture from bytes that nobody vouches for, and says what is wrong with them."""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.arrays import MAGIC, read_array
from shared.errors import FieldError, TooLarge, UnreadableImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
ARRAY = "NPY"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy")
MAX_SIDE = 30_000
"""Pixels; a picture one pixel high must not be a million wide, whatever its area."""


def is_named_like_picture(name: str) -> bool:
    """Whether a file's name ends as pictures' do, and is not one of those that systems hide beside them."""
    return name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".") and "__MACOSX/" not in name


@dataclass(frozen=True)
class Facts:
    """What a picture is: its file's format, its size in pixels after EXIF orientation, and its channels."""

    format: str
    width: int
    height: int
    channels: int = 3


def decode_picture(data: bytes, *, max_pixels: int) -> tuple[NDArray[Any], Facts]:
    """Reads a picture as it is meant to be seen.

    Args:
        data: The file. Grey, palette, 16-bit, transparent, CMYK and EXIF-rotated pictures come out as they look, on
            white. A NumPy array (H, W, C) is taken as it is.
        max_pixels: Largest width times height; checked before any pixel is read.

    Returns:
        The picture (H, W, C) and its facts: RGB, upright, in 8 bits. Of an array, its channels: in 8 bits where it has
        them, else in float32, in the units of whoever made it.

    Raises:
        UnreadableImage: The bytes are empty, not of a known format, truncated, or broken.
        TooLarge: The picture has more pixels than allowed.
    """
    if not data:
        raise _unreadable("the file is empty", "0 bytes")
    if data.startswith(MAGIC):
        return _decode_array(data, max_pixels)
    picture, kind = _decode(data, max_pixels)
    return np.asarray(picture), Facts(kind, *picture.size)


def _decode_array(data: bytes, max_pixels: int) -> tuple[NDArray[Any], Facts]:
    try:
        values = read_array(data, lambda size: _check_size(size, max_pixels))
    except (TooLarge, UnreadableImage):
        raise
    except Exception as error:  # numpy evaluates a literal to read a header
        raise _unreadable(f"the file is no whole NumPy array of a picture: {error}", f"{len(data)} bytes") from error
    height, width, channels = values.shape
    return values, Facts(ARRAY, width, height, channels)


def _decode(data: bytes, max_pixels: int) -> tuple[Image.Image, str]:
    """The picture in RGB, and the name of its format."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked below
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(opened.size, max_pixels)
            opened.load()
            upright = ImageOps.exif_transpose(opened)
    except Image.DecompressionBombError as error:
        raise _too_large(f"more than {max_pixels} pixels", max_pixels) from error
    except UnidentifiedImageError as error:
        raise _unreadable("the file is no picture", f"{len(data)} bytes") from error
    except (TooLarge, UnreadableImage):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        raise _unreadable(
            f"the file is no whole {', '.join(FORMATS)} picture: {error}", f"{len(data)} bytes"
        ) from error
    # MPO is JPEG with further pictures behind the first.
    return convert_to_rgb(upright), {"MPO": "JPEG"}.get(opened.format or "", opened.format or "")


def fits_channels(given: int, wanted: int) -> bool:
    """Whether a network of so many channels takes such a picture: the same, or grey for colour and the other way."""
    return given == wanted or {given, wanted} == {1, 3}


def explain_channels(given: int, wanted: int) -> str:
    """What to do where it does not."""
    return (
        f"the picture has {given} channels and the network takes {wanted}; "
        f"upload a NumPy array (.npy) of shape (height, width, {wanted})"
    )


def convert_to_rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow mode to 8-bit RGB: deep greys are scaled, transparency is laid on white."""
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_reduce_depth(picture)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return picture.convert("RGB")


def _reduce_depth(picture: Image.Image) -> NDArray[np.uint8]:
    """Deep grey to 8 bits: integers by the range of 16 bits, floats by 0..1 or, where they exceed it, 0..255."""
    values: NDArray[Any] = np.asarray(picture)
    if picture.mode == "F":
        top = 1.0 if np.nanmax(values, initial=0) <= 1 else 255.0
        scaled: NDArray[np.uint8] = np.clip(np.nan_to_num(values) * (255 / top), 0, 255).astype(np.uint8)
        return scaled
    deep = picture.mode != "I" or values.max(initial=0) > 255
    # By a table, because a copy of the picture in floats would be eight times its size.
    table: NDArray[np.uint8] = np.clip(np.rint(np.arange(65536) / (257 if deep else 1)), 0, 255).astype(np.uint8)
    reduced: NDArray[np.uint8] = table[np.clip(values, 0, 65535)]
    return reduced


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels or max(size) > MAX_SIDE:
        raise _too_large(f"{width} x {height} pixels", max_pixels)
    if min(size) < 1:
        raise _unreadable("the picture has no pixels", f"{width} x {height}")


def _too_large(given: str, max_pixels: int) -> TooLarge:
    return TooLarge(
        f"the picture has {given}; at most {max_pixels} in all and {MAX_SIDE} on a side are taken: send a smaller one",
        FieldError(field="file", detail="too many pixels", given=given, allowed=max_pixels),
    )


def _unreadable(detail: str, given: str) -> UnreadableImage:
    error = FieldError(field="file", detail="not a readable picture", given=given, allowed=[*FORMATS, ARRAY])
    return UnreadableImage(
        f"{detail}; send a whole picture in one of the formats {', '.join([*FORMATS, ARRAY])}", error
    )
