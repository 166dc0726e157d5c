"""The frames of an animation, for the slider on the page of a job: images, steps, and the objective at each."""

import io
import zipfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from PIL import Image

from archetype.contract.parameters.ascent import list_frame_steps
from shared.errors import NotFound

MAX_FRAMES = 100

MAX_CURVE_BYTES = 100_000
"""Largest file of a curve: ten thousand steps of four bytes, and a header."""


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


def read_curve(file: IO[bytes]) -> list[float]:
    """Reads the objective before each step from the `.npz` of an ascent; empty if the file has none."""
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo("curve.npy").file_size > MAX_CURVE_BYTES:
                return []
            curve = np.load(io.BytesIO(archive.read("curve.npy")), allow_pickle=False)
    except (KeyError, ValueError, zipfile.BadZipFile):
        return []
    return [float(value) for value in np.ravel(curve)]


def describe_frames(count: int, params: dict[str, Any], curve: Sequence[float]) -> dict[str, Any]:
    """Returns what the slider shows: for each frame its step, and the objective of the image after this step.

    Args:
        count: Number of frames of the animation. The last one is the result.
        params: The parameters of the job.
        curve: The objective before each step that was taken.

    Returns:
        `count`; `steps` of the frames and their `objectives`, null if they are not known: the frames of an image whose
        values were not finite are missing, and an ascent with octaves takes frames at each size.
    """
    taken = len(curve)
    steps = [step for step in list_frame_steps(params["steps"], params["frames"]) if step <= taken]
    if params.get("octaves", 1) > 1 or len(steps) + 1 != count or not taken:
        return {"count": count, "steps": None, "objectives": None}
    objectives = [curve[step] if step < taken and np.isfinite(curve[step]) else None for step in steps]
    return {"count": count, "steps": [*steps, taken], "objectives": [*objectives, None]}
