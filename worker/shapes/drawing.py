"""Draws labeled images: one object on a cluttered background, with its mask and its bounding box."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from worker.shapes.objects import OBJECTS, Pen

SIDE = 80
"""Side length of every image in pixels."""

SUPERSAMPLING = 2
"""Factor by which images are drawn larger and then reduced, so that edges are soft as in photographs."""

CLASSES = tuple(OBJECTS)


@dataclass(frozen=True)
class Drawing:
    """A labeled image.

    Attributes:
        image: RGB image of `SIDE` x `SIDE` pixels.
        mask: Gray image of the same size: 255 on the object, 0 elsewhere.
        box: Tight box around the mask in pixels: x0, y0, x1, y1, the last two exclusive.
        label: Class index: position in `CLASSES`.
    """

    image: Image.Image
    mask: Image.Image
    box: tuple[int, int, int, int]
    label: int


def draw_numbered(index: int, seed: int) -> Drawing:
    """The drawing with an index in the series of a seed. It is always the same; the classes alternate."""
    return draw_image(index % len(CLASSES), np.random.default_rng([seed, index]))


def draw_image(label: int, rng: np.random.Generator) -> Drawing:
    """Draws an object of class `label` with random rotation, size and position on a cluttered background."""
    side = SIDE * SUPERSAMPLING
    canvas = draw_background(side, rng)
    layer = draw_object(label, side, rng)
    x, y = (int(rng.integers(0, side - extent + 1)) for extent in layer.size)
    canvas.paste(layer, (x, y), layer)
    mask = Image.new("L", (side, side))
    mask.paste(layer.getchannel("A"), (x, y))
    mask = mask.resize((SIDE, SIDE), Image.Resampling.BOX).point(lambda value: 255 if value > 127 else 0)
    box = mask.getbbox()
    if box is None:
        raise ValueError(f"the drawing of {CLASSES[label]!r} left no pixel on the canvas")
    return Drawing(expose(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), rng), mask, box, label)


def draw_object(label: int, side: int, rng: np.random.Generator) -> Image.Image:
    """Draws an object on a transparent layer, rotated by up to 30 degrees, with 40 to 85 % of the image's width."""
    extent = round(side * rng.uniform(0.4, 0.85))
    layer = Image.new("RGBA", (extent, extent))
    OBJECTS[CLASSES[label]](Pen(ImageDraw.Draw(layer), extent / 2, extent / 2 * 0.96, rng))
    if rng.random() < 0.5:
        layer = layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = layer.rotate(rng.uniform(-30, 30), Image.Resampling.BICUBIC, expand=True)
    if max(turned.size) > side:
        turned.thumbnail((side, side))
    return turned.crop(turned.getbbox())


def draw_background(side: int, rng: np.random.Generator) -> Image.Image:
    """Draws a color gradient with random shapes and noise, which contains no object of a class."""
    corners = rng.integers(30, 226, (2, 2, 3)).astype(np.uint8)
    canvas = Image.fromarray(corners).resize((side, side), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(6, 22)):
        draw_clutter(draw, side, rng)
    if rng.random() < 0.5:
        canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4))))
    noise = rng.normal(0, rng.uniform(0, 14), (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8))


def draw_clutter(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """Draws an ellipse, rectangle, triangle, line or grid of dots at a random position."""
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    fill = (red, green, blue)
    x, y = rng.uniform(-0.1, 1.1, 2) * side
    w, h = rng.uniform(0.03, 0.3, 2) * side
    match rng.integers(0, 5):
        case 0:
            draw.ellipse([x - w, y - h, x + w, y + h], fill=fill)
        case 1:
            draw.rectangle([x - w, y - h, x + w, y + h], fill=fill)
        case 2:
            draw.polygon([(float(px), float(py)) for px, py in rng.normal((x, y), side * 0.15, (3, 2))], fill=fill)
        case 3:
            ends = rng.uniform(-0.1, 1.1, 4) * side
            draw.line([float(end) for end in ends], fill=fill, width=int(rng.integers(1, 12)))
        case _:
            step = max(6.0, w / 2)
            for dx in np.arange(0, 2 * w, step):
                for dy in np.arange(0, 2 * h, step):
                    draw.ellipse([x + dx, y + dy, x + dx + step / 2, y + dy + step / 2], fill=fill)


def expose(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Changes contrast, brightness and color balance at random, as a cheap camera does."""
    pixels = (
        (np.asarray(image, np.float64) - 128) * rng.uniform(0.75, 1.2)
        + 128
        + rng.uniform(-24, 24)
        + rng.uniform(-12, 12, 3)
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
