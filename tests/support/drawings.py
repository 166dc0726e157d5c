"""Drawings of the classes of the `shapes` network, as PNG files."""

import io

import numpy as np

from worker.shapes.drawing import draw_image


def draw_png(label: int, seed: int) -> bytes:
    """The PNG of a drawing of a class."""
    buffer = io.BytesIO()
    draw_image(label, np.random.default_rng(seed)).image.save(buffer, "PNG")
    return buffer.getvalue()
