"""Single frames of an animation, for the frame slider on the page of a job."""

import io

from PIL import Image

from shared.errors import NotFound

MAX_FRAMES = 100


def count_frames(data: bytes) -> int:
    """Returns the number of frames of a WebP animation, at most `MAX_FRAMES`."""
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as animation:
        return min(MAX_FRAMES, int(getattr(animation, "n_frames", 1)))


def cut_frame(data: bytes, number: int) -> bytes:
    """Returns one frame as WebP. Raises `NotFound` if the animation has no frame with this number."""
    if not 0 <= number < count_frames(data):
        raise NotFound(f"the animation has no frame {number}")
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as animation:
        animation.seek(number)
        animation.convert("RGB").save(buffer, "WEBP", quality=85)
    return buffer.getvalue()
