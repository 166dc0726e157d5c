"""Images as numbers and as text: what a request has, as image files."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

CHANNELS = (1, 3, 4)


def decode_base64(text: str) -> bytes:
    """Returns the bytes of a text in base64. Raises `ValueError`."""
    return base64.b64decode(text, validate=True)


def encode_png(pixels: "np.ndarray[Any, np.dtype[np.int64]]") -> bytes:
    """Returns pixels (H, W) or (H, W, C), 0 to 255, as a PNG file. Raises `ValueError`."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] not in CHANNELS):
        raise ValueError(f"pixels have the shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {pixels.shape}")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError("the values of pixels are from 0 to 255")
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
