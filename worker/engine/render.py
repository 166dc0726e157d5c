"""From tensors to pictures that can be looked at, and to the bytes of their files."""

import io
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Pixels = NDArray[np.uint8]

Edges = tuple[float, float, float, float]
"""Left, top, right and bottom of a box in pixels."""

INK = (32, 33, 36)
PAPER = (255, 255, 255)
LINE = (26, 115, 232)
FOUND, TRUE = (255, 196, 0), (0, 200, 120)
FRAME_MS, LAST_FRAME_MS = 80, 1500
LABEL_HEIGHT = 22
GAP = 6


def to_levels(picture: Tensor) -> NDArray[np.uint8]:
    """A picture (C, H, W) in 0..1, clipped and rounded to 8 bits: (H, W, C)."""
    values = picture.detach().float().clamp(0, 1).mul(255).round().byte().cpu().numpy()
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def to_rgb(levels: NDArray[np.uint8]) -> Pixels:
    """Levels (H, W, C) as they can be looked at (H, W, 3); other channels than one or three side by side in grey."""
    if levels.shape[2] not in (1, 3):
        levels = np.concatenate(np.split(levels, levels.shape[2], axis=2), axis=1)
    return np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3)))


def flatten_channels(levels: NDArray[np.uint8]) -> Pixels:
    """Levels (H, W, C) as one picture of their size (H, W, 3): of other channels than one or three, their mean."""
    if levels.shape[2] not in (1, 3):
        levels = np.rint(levels.mean(2, keepdims=True)).astype(np.uint8)
    return to_rgb(levels)


def encode_png(pixels: Pixels) -> bytes:
    """The bytes of a PNG file of (H, W, 3) or (H, W) pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def decode_png(data: bytes) -> Pixels:
    """The picture (H, W, 3) of a PNG."""
    return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]).convert("RGB"))


def encode_animation(frames: Sequence[Pixels], kind: Literal["GIF", "WEBP"]) -> bytes:
    """The bytes of an animation of (H, W, 3) frames that starts again for ever, its last frame shown longest."""
    buffer = io.BytesIO()
    pictures = [Image.fromarray(frame) for frame in frames]
    if kind == "GIF":  # Pillow's own choice of 256 colours looks no better and takes a hundred times as long
        pictures = [picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) for picture in pictures]
    first, *others = pictures
    durations = [FRAME_MS] * len(others) + [LAST_FRAME_MS]
    options = {"quality": 80, "method": 1} if kind == "WEBP" else {"optimize": False}
    first.save(buffer, kind, save_all=True, append_images=others, duration=durations, loop=0, **options)
    return buffer.getvalue()


def render_curve(values: NDArray[np.float32], width: int = 320, height: int = 160) -> Pixels:
    """Values over steps as a line, with the least and the largest written at the side: (height, width, 3)."""
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    left, right, top, bottom = 52, width - 8, 10, height - 22
    draw.line([(left, top), (left, bottom), (right, bottom)], INK)
    places = np.linspace(left, right, max(2, len(values)))
    heights = bottom - (bottom - top) * (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-9)
    draw.line(list(zip(places.tolist(), heights.tolist(), strict=False)), LINE, width=2)
    font = ImageFont.load_default(11)
    for text, spot, anchor in (
        (f"{high:.4g}", (left - 5, top), "rm"), (f"{low:.4g}", (left - 5, bottom), "rm"),
        ("1", (left, bottom + 11), "mm"), (f"{len(values)} steps", (right, bottom + 11), "rm"),
    ):  # fmt: skip
        draw.text(spot, text, INK, font, anchor=anchor)
    return np.asarray(picture)


def render_traces(traces: Mapping[str, Sequence[float]], width: int = 320, height: int = 200) -> Pixels:
    """Values in 0..1 over the share of something, 0 to 100 %, a named line each: (height, width, 3)."""
    picture = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    left, right, top, bottom = 34, width - 12, 26, height - 22
    draw.line([(left, top), (left, bottom), (right, bottom)], INK)
    for number, (name, values) in enumerate(traces.items()):
        colour = (LINE, FOUND, TRUE)[number % 3]
        places = np.linspace(left, right, len(values))
        heights = bottom - (bottom - top) * np.clip(values, 0, 1)
        draw.line(list(zip(places.tolist(), heights.tolist(), strict=True)), colour, width=2)
        draw.text((left + 8 + 90 * number, 6), name, colour, font)
    for text, spot in (
        ("1", (left - 5, top)),
        ("0", (left - 5, bottom)),
        ("100 % of the pixels", (right, bottom + 11)),
    ):
        draw.text(spot, text, INK, font, anchor="rm")
    return np.asarray(picture)


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


def render_object(
    pixels: Pixels, mask: NDArray[np.bool_], found: Sequence[Edges] = (), true: Sequence[Edges] = ()
) -> Pixels:
    """A picture (H, W, 3), dark and grey outside a mask (H, W), with boxes that were found and true ones."""
    grey = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) * 0.45
    picture = Image.fromarray(np.where(mask[..., None], pixels, grey).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    thick = max(1, round(max(picture.size) / 160))
    for boxes, colour in ((true, TRUE), (found, FOUND)):
        for left, top, right, bottom in boxes:
            draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=thick)
    return np.asarray(picture)


def render_boxes(pixels: Pixels, boxes: Sequence[Edges]) -> Pixels:
    """A picture (H, W, 3) with numbered boxes, the first drawn last and brightest."""
    picture = Image.fromarray(pixels)
    draw, thick = ImageDraw.Draw(picture), max(1, round(max(picture.size) / 200))
    font = ImageFont.load_default(max(10, round(max(picture.size) / 32)))
    for number, (left, top, right, bottom) in reversed(list(enumerate(boxes, 1))):
        colour = FOUND if number == 1 else TRUE
        edges = (left, top, max(left, right - 1), max(top, bottom - 1))
        draw.rectangle(edges, outline=colour, width=thick)
        text = str(number)
        spot = (left + 2 * thick, top + thick)
        draw.rectangle(draw.textbbox(spot, text, font), fill=INK)
        draw.text(spot, text, colour, font)
    return np.asarray(picture)


def render_difference(before: NDArray[np.uint8], after: NDArray[np.uint8], amplify: float) -> NDArray[np.uint8]:
    """What has changed (H, W, C), so many times as large, about mid grey."""
    change = after.astype(np.float32) - before.astype(np.float32)
    shown: NDArray[np.uint8] = np.clip(np.rint(127.5 + change * amplify), 0, 255).astype(np.uint8)
    return shown


def render_tiles(maps: NDArray[np.float32], side: int = 1024) -> Pixels:
    """Maps (K, h, w) in 0..1 as grey tiles in a square, each value a square of pixels: (H, W, 3).

    Args:
        side: What the square's side is at most, as far as its tiles are not larger already.
    """
    count, height, width = maps.shape
    columns = max(1, round((count * height / width) ** 0.5))
    rows = -(-count // columns)
    each = max(1, side // max(columns * width, rows * height))
    gap = 2 if height * width > 1 else 0
    sheet = np.full((rows * (height * each + gap) + gap, columns * (width * each + gap) + gap), 255, np.uint8)
    for number, values in enumerate(np.rint(maps * 255).astype(np.uint8)):
        top = gap + number // columns * (height * each + gap)
        left = gap + number % columns * (width * each + gap)
        sheet[top : top + height * each, left : left + width * each] = values.repeat(each, 0).repeat(each, 1)
    return np.repeat(sheet[..., None], 3, axis=2)


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
