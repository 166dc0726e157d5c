"""From tensors to pictures that can be looked at, and to the bytes of their files."""

import io
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Pixels = NDArray[np.uint8]

INK = (32, 33, 36)
PAPER = (255, 255, 255)
LABEL_HEIGHT = 22
GAP = 6


def to_pixels(picture: Tensor) -> Pixels:
    """A picture (C, H, W) in 0..1, C 1 or 3, clipped and rounded to 8 bits: (H, W, 3)."""
    values = picture.detach().float().clamp(0, 1).mul(255).round().byte().cpu().numpy()
    return np.ascontiguousarray(np.broadcast_to(values.transpose(1, 2, 0), (*values.shape[1:], 3)))


def encode_png(pixels: Pixels) -> bytes:
    """The bytes of a PNG file of (H, W, 3) or (H, W) pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def scale_map(values: NDArray[np.floating], quantile: float = 0.99) -> NDArray[np.float32]:
    """A map (H, W) to 0..1, where 1 is its 99 % quantile: a single bright pixel must not leave the rest dark."""
    top = float(np.quantile(values, quantile)) or float(values.max())
    if not np.isfinite(top) or top <= 0:
        return np.zeros(values.shape, np.float32)
    scaled: NDArray[np.float32] = np.clip(values / top, 0, 1).astype(np.float32)
    return scaled


def render_heat_map(values: NDArray[np.float32]) -> Pixels:
    """A map (H, W) in colours from black over red to pale yellow: (H, W, 3)."""
    levels = (scale_map(values) * 255).astype(np.uint8)
    return _reverse_channels(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO))


def render_overlay(pixels: Pixels, values: NDArray[np.float32], strength: float = 0.85) -> Pixels:
    """The map over its picture, both (H, W): grey where nothing matters, colour where it does."""
    blurred = np.asarray(cv2.GaussianBlur(values, (0, 0), sigmaX=max(1.0, values.shape[0] / 100)), np.float32)
    weight = scale_map(blurred)[..., None] * strength  # (H, W, 1)
    grey = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) * 0.7 + 40
    mixed = grey * (1 - weight) + render_heat_map(blurred) * weight
    clipped: Pixels = np.clip(mixed, 0, 255).astype(np.uint8)
    return clipped


def render_contact_sheet(cells: Sequence[Sequence[tuple[Pixels, str]]], side: int = 224) -> Pixels:
    """Pictures in rows, each `side` pixels wide, with a line of text under it."""
    columns = max(len(row) for row in cells)
    height = side + LABEL_HEIGHT
    sheet = Image.new("RGB", (columns * (side + GAP) + GAP, len(cells) * (height + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(cells):
        for x, (pixels, label) in enumerate(row):
            left, top = GAP + x * (side + GAP), GAP + y * (height + GAP)
            sheet.paste(_fit(pixels, side), (left, top))
            draw.text((left + side / 2, top + side + LABEL_HEIGHT / 2), label, INK, _font(label, side), anchor="mm")
    return np.asarray(sheet)


def arrange(cells: Sequence[tuple[Pixels, str]], columns: int) -> list[Sequence[tuple[Pixels, str]]]:
    """Cells in rows of `columns`."""
    return [cells[start : start + columns] for start in range(0, len(cells), columns)]


def _fit(pixels: Pixels, side: int) -> Image.Image:
    """The picture whole, centred in a square; small ones are enlarged smoothly."""
    picture = Image.fromarray(pixels)
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    square = Image.new("RGB", (side, side), PAPER)
    square.paste(picture.resize(size, Image.Resampling.BICUBIC), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _font(text: str, width: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The built-in font as large as the text allows, 9 to 14 px."""
    for size in range(14, 9, -1):
        font = ImageFont.load_default(size)
        if font.getlength(text) <= width:
            return font
    return ImageFont.load_default(9)


def _reverse_channels(pixels: "cv2.typing.MatLike") -> Pixels:
    return np.ascontiguousarray(pixels[..., ::-1]).astype(np.uint8)
