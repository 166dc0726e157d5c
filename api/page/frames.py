"""Single frames of an animation, for whoever wants to look at one of them."""

import io

from PIL import Image

from shared.errors import NotFound

MOST_FRAMES = 100


def count_frames(data: bytes) -> int:
    """How many frames an animation has."""
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as animation:
        return min(MOST_FRAMES, int(getattr(animation, "n_frames", 1)))


def cut_frame(data: bytes, number: int) -> bytes:
    """One frame as WebP. Raises `NotFound` for one that is not there."""
    if not 0 <= number < count_frames(data):
        raise NotFound(f"the animation has no frame {number}")
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as animation:
        animation.seek(number)
        animation.convert("RGB").save(buffer, "WEBP", quality=85)
    return buffer.getvalue()
