"""A figure of a saliency map: image, map and overlay side by side, with a color bar, its unit and a title."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from worker.engine.heat_map import render_heat_map, render_overlay
from worker.engine.render import INK, PAPER, RGBImage, fit_square
from worker.engine.text import fit_text, load_font

SIDE, GAP, TITLE, BAR = 224, 8, 26, 12
"""Side of an image, gap between two, height of the title and of the color bar, in pixels."""

TICKS = 5


def render_map_figure(
    pixels: RGBImage, values: NDArray[np.float32], *, limit: float, unit: str, has_sign: bool, title: str
) -> RGBImage:
    """Renders a saliency map as a figure.

    Args:
        pixels: The image (H, W, 3).
        values: The map (H, W) of the image; finite.
        limit: The magnitude with the brightest color; above 0.
        unit: Unit of the values.
        has_sign: Whether the color bar begins at −limit and not at 0.
        title: Text above the images.

    Returns:
        (294, 688, 3).
    """
    width = 3 * SIDE + 2 * GAP
    figure = Image.new("RGB", (width, TITLE + SIDE + GAP + BAR + 24), PAPER)
    draw = ImageDraw.Draw(figure)
    text, font = fit_text(title, width)
    draw.text((width / 2, TITLE / 2), text, INK, font, anchor="mm")
    images = (pixels, render_heat_map(values, limit), render_overlay(pixels, values, limit))
    for column, image in enumerate(images):
        figure.paste(fit_square(image, SIDE), (column * (SIDE + GAP), TITLE))
    left, top = SIDE + GAP, TITLE + SIDE + GAP  # below map and overlay
    length = width - left - 24
    lowest = -limit if has_sign else 0.0
    ramp = np.linspace(lowest, limit, length, dtype=np.float32)
    bar = render_heat_map(np.repeat(ramp[None], BAR, axis=0), limit)
    figure.paste(Image.fromarray(bar), (left, top))
    small = load_font(10)
    for tick, value in zip(np.linspace(left, left + length - 1, TICKS), np.linspace(lowest, limit, TICKS), strict=True):
        draw.line([(tick, top + BAR), (tick, top + BAR + 3)], INK)
        anchor = "la" if tick == left else "ma"
        draw.text((tick, top + BAR + 5), f"{value:.3g}", INK, small, anchor=anchor)
    draw.text((left - GAP, top + BAR / 2), unit, INK, small, anchor="rm")
    return np.asarray(figure)
