"""Images with more than 8 bits per value, whose values Pillow's 8-bit modes would cut off.

Pillow has no mode for colors of 16 bits: it keeps the high byte of each value. Here a file is decoded twice, once for
the high bytes and once for the low bytes, which are the high bytes if the file is read in the other byte order.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from shared.media.bands import map_bands

WHITE = 65535

Open = Callable[[], ImageFile.ImageFile]
"""Opens the file again."""

SUFFIXES = {"B": ">", "L": "<", "N": "<" if sys.byteorder == "little" else ">"}
"""Byte order of a raw mode of 16 bits."""

COLORS = ("RGB", "RGBA", "RGBX", "RGBa")


def read_deep(image: ImageFile.ImageFile, reopen: Open) -> NDArray[Any] | None:
    """Reads the values of an image with more than 8 bits per value.

    Args:
        image: The opened image, before any pixel is decoded.
        reopen: Opens the same file once more.

    Returns:
        (H, W, 3), or (H, W, 1) if the image is gray: uint16, or float32 if the file has floats, or integers of 32 bits
        or with a sign. Transparent pixels are white. None if the image has 8 bits per value or fewer.
    """
    raw_mode = find_raw_mode(image)
    if image.mode == "F" or image.mode == "I":
        image.load()
        return map_bands([image], lambda band: _add_axis(band, np.float32), channels=1, kind=np.float32)
    if image.mode.startswith("I;16"):
        image.load()
        transparent = image.info.get("transparency")
        return map_bands(
            [image], lambda band: _whiten(_add_axis(band, np.uint16), transparent), channels=1, kind=np.uint16
        )
    if raw_mode == "LA;16B":
        return map_bands([_load_as(image, "RGBA")], _join_gray, channels=1, kind=np.uint16)
    color, _, order = raw_mode.partition(";16")
    if color not in COLORS or order not in SUFFIXES:
        return None
    return _read_colors(image, reopen, color, SUFFIXES[order])


def _read_colors(image: ImageFile.ImageFile, reopen: Open, color: str, order: str) -> NDArray[Any]:
    high, low = ("B", "L") if order == ">" else ("L", "B")
    # A premultiplied image is read as one that is not: Pillow would divide the bytes.
    plain = "RGBA" if color == "RGBa" else color
    transparent = image.info.get("transparency")

    def join(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        deep: NDArray[Any] = first.astype(np.uint16) << 8 | second
        if color in ("RGBA", "RGBa"):
            return _blend(deep[..., :3], deep[..., 3], is_premultiplied=color == "RGBa")
        return _whiten(deep[..., :3], transparent)

    images = [_load_as(image, f"{plain};16{high}"), _load_as(reopen(), f"{plain};16{low}")]
    return map_bands(images, join, channels=3, kind=np.uint16)


def find_raw_mode(image: ImageFile.ImageFile) -> str:
    """Returns the name that Pillow gives to the storage of the values."""
    arguments = image.tile[0].args if image.tile else ""
    mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return mode if isinstance(mode, str) else ""


def find_white(values: NDArray[np.uint16], bits: int | None, *, may_be_scaled: bool) -> int | None:
    """Returns the value of white that a file states: the largest value of so many bits.

    Args:
        values: The values.
        bits: Number of significant bits, if the file states it.
        may_be_scaled: Whether values of fewer bits may be scaled to 16 bits, as in PNG. They are not if all are small
            and some are not multiples of the step that scaling makes.
    """
    if bits is None or not 8 < bits < 16:
        return None
    white = (1 << bits) - 1
    used_bits = int(np.bitwise_or.reduce(values, axis=None)) if values.size else 0
    is_multiple = may_be_scaled and not used_bits & ((1 << (16 - bits)) - 1)
    return WHITE if is_multiple or int(values.max(initial=0)) > white else white


def _load_as(image: ImageFile.ImageFile, raw_mode: str) -> ImageFile.ImageFile:
    """Decodes an image with another raw mode."""
    image.tile = [tile._replace(args=_replace_mode(tile.args, raw_mode)) for tile in image.tile]
    image.load()
    return image


def _replace_mode(arguments: Any, raw_mode: str) -> Any:
    return (raw_mode, *arguments[1:]) if isinstance(arguments, tuple) else raw_mode


def _add_axis(values: NDArray[Any], kind: type[np.generic]) -> NDArray[Any]:
    return values.astype(kind)[..., None]


def _join_gray(values: NDArray[Any]) -> NDArray[Any]:
    """Joins the bytes of a gray image with opacities (H, W, 4), and puts it on white: (H, W, 1)."""
    first, second, third, fourth = np.moveaxis(values, 2, 0).astype(np.uint16)
    return _blend((first << 8 | second)[..., None], third << 8 | fourth)


def _blend(values: NDArray[np.uint16], alpha: NDArray[np.uint16], *, is_premultiplied: bool = False) -> NDArray[Any]:
    """Puts an image (H, W, C) with opacities (H, W) on white."""
    opacity = alpha[..., None].astype(np.float32) / WHITE
    color = values.astype(np.float32) * (1 if is_premultiplied else opacity)
    blended: NDArray[Any] = np.rint(np.clip(color + (1 - opacity) * WHITE, 0, WHITE)).astype(np.uint16)
    return blended


def _whiten(values: NDArray[np.uint16], transparent: object) -> NDArray[Any]:
    """Makes the pixels of the transparent color of an image (H, W, C) white."""
    if isinstance(transparent, int | tuple):
        values = np.where((values == np.asarray(transparent)).all(2, keepdims=True), np.uint16(WHITE), values)
    return values
