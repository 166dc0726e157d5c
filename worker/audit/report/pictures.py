"""Pictures of a report as `data:` URLs."""

import base64
import io

import numpy as np
from PIL import Image

from worker.engine.render import RGBImage, flatten_channels
from worker.inputs.preprocess import Levels

IMAGE_SIDE, MARK_SIDE, THUMBNAIL_SIDE = 112, 72, 64
"""Longer side of the embedded images, marks and thumbnails in pixels."""


def embed(levels: Levels | RGBImage, side: int, *, sharp: bool = False) -> str:
    """An image (H, W, C) as a `data:` URL, resized to a longer side of about `side` pixels."""
    image = Image.fromarray(np.ascontiguousarray(flatten_channels(levels)))
    scale = side / max(image.size)
    kernel = Image.Resampling.NEAREST if sharp else Image.Resampling.BICUBIC
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), kernel)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, lossless=sharp)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
