"""Renders tensors, curves, boxes and contact sheets as 8-bit RGB images, and encodes them as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from worker.engine.text import fit_text, load_font

RGBImage = NDArray[np.uint8]
"""An 8-bit RGB image: (H, W, 3) in 0..255."""

Edges = tuple[float, float, float, float]
"""Left, top, right and bottom edges of a box in pixels."""

INK = (32, 33, 36)
PAPER = (255, 255, 255)
LINE = (26, 115, 232)
FOUND, TRUE = (255, 196, 0), (0, 200, 120)
LABEL_HEIGHT = 22
GAP = 6


def to_uint8(image: Tensor) -> NDArray[np.uint8]:
    """Converts an image (C, H, W) in 0..1 to 8 bits (H, W, C); values are clipped and rounded."""
    values = image.detach().float().clamp(0, 1).mul(255).round().byte().cpu().numpy()
    return np.ascontiguousarray(values.transpose(1, 2, 0))  # (H, W, C)


def to_rgb(image: NDArray[np.uint8]) -> RGBImage:
    """Converts an image (H, W, C) of any number of channels to RGB.

    Returns:
        (H, W, 3); if there are not one or three channels, they are placed side by side in gray: (H, C · W, 3).
    """
    if image.shape[2] not in (1, 3):
        image = np.concatenate(np.split(image, image.shape[2], axis=2), axis=1)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def flatten_channels(image: NDArray[np.uint8]) -> RGBImage:
    """Converts an image (H, W, C) to RGB (H, W, 3); the gray mean of its channels if there are not one or three."""
    if image.shape[2] not in (1, 3):
        image = np.rint(image.mean(2, keepdims=True)).astype(np.uint8)
    return to_rgb(image)


def encode_png(pixels: RGBImage) -> bytes:
    """Encodes pixels (H, W, 3) or (H, W) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def decode_png(data: bytes) -> RGBImage:
    """Decodes a PNG file to RGB (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]).convert("RGB"))


def render_curve(values: NDArray[np.float32], width: int = 320, height: int = 160) -> RGBImage:
    """Plots values over steps, with the minimum and maximum on the axis.

    Args:
        values: One value per step (n,); values that are not finite are drawn at the minimum.
        width: Width in pixels.
        height: Height in pixels.

    Returns:
        (height, width, 3).
    """
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    left, right, top, bottom = 52, width - 8, 10, height - 22
    draw.line([(left, top), (left, bottom), (right, bottom)], INK)
    xs = np.linspace(left, right, max(2, len(values)))
    ys = bottom - (bottom - top) * (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-9)
    draw.line(list(zip(xs.tolist(), ys.tolist(), strict=False)), LINE, width=2)
    font = load_font(10)
    labels: tuple[tuple[str, tuple[int, int], Literal["rm", "mm"]], ...] = (
        (f"{high:.4g}", (left - 5, top), "rm"),
        (f"{low:.4g}", (left - 5, bottom), "rm"),
        ("1", (left, bottom + 11), "mm"),
        (f"{len(values)} steps", (right, bottom + 11), "rm"),
    )
    for text, position, anchor in labels:
        draw.text(position, text, INK, font, anchor=anchor)
    return np.asarray(image)


def render_traces(traces: Mapping[str, Sequence[float]], width: int = 320, height: int = 200) -> RGBImage:
    """Plots values in 0..1 over the part of the pixels that is changed, 0 to 100 %; one named line for each trace.

    Args:
        traces: Values of each line by name.
        width: Width in pixels.
        height: Height in pixels.

    Returns:
        (height, width, 3).
    """
    image = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(image), load_font(10)
    left, right, top, bottom = 34, width - 12, 26, height - 22
    draw.line([(left, top), (left, bottom), (right, bottom)], INK)
    for number, (name, values) in enumerate(traces.items()):
        color = (LINE, FOUND, TRUE)[number % 3]
        xs = np.linspace(left, right, len(values))
        ys = bottom - (bottom - top) * np.clip(values, 0, 1)
        draw.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), color, width=2)
        draw.text((left + 8 + 90 * number, 6), name, color, font)
    for text, position in (
        ("1", (left - 5, top)),
        ("0", (left - 5, bottom)),
        ("100 % of the pixels", (right, bottom + 11)),
    ):
        draw.text(position, text, INK, font, anchor="rm")
    return np.asarray(image)


def render_object(
    pixels: RGBImage, mask: NDArray[np.bool_], found: Sequence[Edges] = (), true: Sequence[Edges] = ()
) -> RGBImage:
    """Renders a segmented object: the image is dark and gray outside the mask.

    Args:
        pixels: The image (H, W, 3).
        mask: The object's pixels (H, W).
        found: Boxes that were found.
        true: True boxes.

    Returns:
        (H, W, 3).
    """
    image = Image.fromarray(np.where(mask[..., None], pixels, to_gray(pixels) * 0.45).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    thickness = max(1, round(max(image.size) / 160))
    for boxes, color in ((true, TRUE), (found, FOUND)):
        for box in boxes:
            draw.rectangle(_inner_edges(box), outline=color, width=thickness)
    return np.asarray(image)


def render_boxes(pixels: RGBImage, boxes: Sequence[Edges]) -> RGBImage:
    """Draws numbered boxes into an image (H, W, 3); the first is drawn last and in another color."""
    image = Image.fromarray(pixels)
    draw, thickness = ImageDraw.Draw(image), max(1, round(max(image.size) / 200))
    font = load_font(max(10, round(max(image.size) / 32)))
    for number, box in reversed(list(enumerate(boxes, 1))):
        color = FOUND if number == 1 else TRUE
        draw.rectangle(_inner_edges(box), outline=color, width=thickness)
        position = (box[0] + 2 * thickness, box[1] + thickness)
        draw.rectangle(draw.textbbox(position, str(number), font), fill=INK)
        draw.text(position, str(number), color, font)
    return np.asarray(image)


def render_difference(before: NDArray[np.uint8], after: NDArray[np.uint8], amplify: float) -> NDArray[np.uint8]:
    """Renders the difference of two images (H, W, C), multiplied by `amplify`, around mid gray: (H, W, C)."""
    change = after.astype(np.float32) - before.astype(np.float32)
    difference: NDArray[np.uint8] = np.clip(np.rint(127.5 + change * amplify), 0, 255).astype(np.uint8)
    return difference


def render_tiles(maps: NDArray[np.float32], side: int = 1024) -> RGBImage:
    """Renders feature maps as gray tiles in a square; each value is a square of pixels.

    Args:
        maps: (K, h, w) in 0..1.
        side: Maximum side of the result in pixels; exceeded only if one pixel per value needs more.

    Returns:
        (H, W, 3).
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


def render_contact_sheet(cells: Sequence[Sequence[tuple[RGBImage, str]]], side: int = 224) -> RGBImage:
    """Renders rows of images, each fitted into a square, with a line of text under it.

    Args:
        cells: Rows of images (H, W, 3) and their labels.
        side: Side of a square in pixels.

    Returns:
        (H, W, 3).
    """
    columns = max(len(row) for row in cells)
    height = side + LABEL_HEIGHT
    sheet = Image.new("RGB", (columns * (side + GAP) + GAP, len(cells) * (height + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(cells):
        for x, (pixels, label) in enumerate(row):
            left, top = GAP + x * (side + GAP), GAP + y * (height + GAP)
            sheet.paste(fit_square(pixels, side), (left, top))
            text, font = fit_text(label, side)
            draw.text((left + side / 2, top + side + LABEL_HEIGHT / 2), text, INK, font, anchor="mm")
    return np.asarray(sheet)


def arrange(cells: Sequence[tuple[RGBImage, str]], columns: int) -> list[Sequence[tuple[RGBImage, str]]]:
    """Arranges cells in rows of `columns`."""
    return [cells[start : start + columns] for start in range(0, len(cells), columns)]


def _inner_edges(box: Edges) -> Edges:
    """The edges as Pillow takes them, right and bottom inclusive."""
    left, top, right, bottom = box
    return left, top, max(left, right - 1), max(top, bottom - 1)


def to_gray(pixels: RGBImage) -> RGBImage:
    """The luminance in three channels: (H, W, 3)."""
    return np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def fit_square(pixels: RGBImage, side: int) -> Image.Image:
    """The whole image, centered in a square; a small one is enlarged by interpolation."""
    image = Image.fromarray(pixels)
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGB", (side, side), PAPER)
    square.paste(image.resize(size, Image.Resampling.BICUBIC), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square
