"""Draws labelled pictures: one known thing on a cluttered background, with its mask and its box."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from worker.shapes.objects import OBJECTS, Pen

SIDE = 80
"""Pixels on a side of every picture."""

SUPERSAMPLING = 2
"""Pictures are drawn this much larger and reduced, so that edges are soft as in photographs."""

CLASSES = tuple(OBJECTS)


@dataclass(frozen=True)
class Drawing:
    """One labelled picture.

    Attributes:
        picture: RGB, `SIDE` pixels square.
        mask: Grey, same size; 255 where the object is.
        box: Tight box around the mask in pixels: x0, y0, x1, y1, the last two exclusive.
        label: Index into `CLASSES`.
    """

    picture: Image.Image
    mask: Image.Image
    box: tuple[int, int, int, int]
    label: int


def draw_numbered(index: int, seed: int) -> Drawing:
    """The drawing of that number in the series of a seed; the classes come in turn, and always the same."""
    return draw_picture(index % len(CLASSES), np.random.default_rng([seed, index]))


def draw_picture(label: int, rng: np.random.Generator) -> Drawing:
    """Draws one thing of class `label`, turned, scaled and placed at random on a background of clutter."""
    side = SIDE * SUPERSAMPLING
    canvas = draw_background(side, rng)
    thing = draw_thing(label, side, rng)
    x, y = (int(rng.integers(0, side - extent + 1)) for extent in thing.size)
    canvas.paste(thing, (x, y), thing)
    mask = Image.new("L", (side, side))
    mask.paste(thing.getchannel("A"), (x, y))
    mask = mask.resize((SIDE, SIDE), Image.Resampling.BOX).point(lambda value: 255 if value > 127 else 0)
    box = mask.getbbox()
    if box is None:
        raise ValueError(f"the drawing of {CLASSES[label]!r} left no pixel on the canvas")
    return Drawing(expose(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), rng), mask, box, label)


def draw_thing(label: int, side: int, rng: np.random.Generator) -> Image.Image:
    """The thing alone on a transparent layer, turned by up to 30 degrees, 40 to 85 % of the picture wide."""
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
    """A gradient of two colours under clutter: blots, bars and speckle of any colour, none of them a class."""
    corners = rng.integers(30, 226, (2, 2, 3)).astype(np.uint8)
    canvas = Image.fromarray(corners).resize((side, side), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(6, 22)):
        draw_clutter(draw, side, rng)
    if rng.random() < 0.5:
        canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4))))
    speckle = rng.normal(0, rng.uniform(0, 14), (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(canvas) + speckle, 0, 255).astype(np.uint8))


def draw_clutter(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """One blot, bar, triangle or grid of dots somewhere on the canvas."""
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


def expose(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Contrast, brightness and colour cast of a cheap camera."""
    pixels = (
        (np.asarray(picture, np.float64) - 128) * rng.uniform(0.75, 1.2)
        + 128
        + rng.uniform(-24, 24)
        + rng.uniform(-12, 12, 3)
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
