"""Animations as GIF or WebP files."""

import io
from collections.abc import Sequence
from typing import Literal

from PIL import Image

from worker.engine.render import RGBImage

FRAME_MS, LAST_FRAME_MS = 80, 1500
"""Duration of a frame, and of the last one, in milliseconds."""


def encode_animation(frames: Sequence[RGBImage], kind: Literal["GIF", "WEBP"]) -> bytes:
    """Encodes frames (H, W, 3) in 0..255 as an animation that loops forever; the last frame is shown longest."""
    buffer = io.BytesIO()
    images = [Image.fromarray(frame) for frame in frames]
    if kind == "GIF":  # Pillow's default choice of 256 colors looks no better and takes a hundred times as long
        images = [image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) for image in images]
    first, *rest = images
    durations = [FRAME_MS] * len(rest) + [LAST_FRAME_MS]
    options = {"quality": 80, "method": 1} if kind == "WEBP" else {"optimize": False}
    first.save(buffer, kind, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    return buffer.getvalue()
