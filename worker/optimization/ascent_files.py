"""Files of an ascent beside its image: animation, floats and curve."""

import io
from typing import Any

import numpy as np

from worker.engine.animation import encode_animation
from worker.engine.render import encode_png, render_curve, to_rgb
from worker.inputs.preprocess import shrink
from worker.job.context import Save
from worker.optimization.optimize import AscentResult
from worker.optimization.trajectory import FRAME_SIDE, enlarge

SMALL_JOB = 32
"""Jobs with more images than this save no animations, floats and curves, unless the request asks for them."""


def wants_extras(requested: bool | None, images: int) -> bool:
    """Whether a job with this number of images saves animations, floats and curves."""
    return images <= SMALL_JOB if requested is None else requested


def save_extras(save: Save, stem: str, result: AscentResult, **labels: Any) -> None:
    """Saves the animation, the floats and the curve of an ascent, if the job saves them.

    Args:
        save: Stores one artifact.
        stem: Start of the file names.
        result: The ascent.
        labels: The target and the image that the files belong to.
    """
    if result.frames is None:
        return
    frames = [*result.frames, shrink(to_rgb(result.levels), FRAME_SIDE)]
    frames = [enlarge(frame, frames[-1].shape[:2]) for frame in frames]  # the first octaves are smaller
    save(f"{stem}.gif", encode_animation(frames, "GIF"), **labels)
    save(f"{stem}.webp", encode_animation(frames, "WEBP"), **labels)
    save(f"{stem}.npz", pack_floats(result), **labels)
    save(f"{stem}-curve.png", encode_png(render_curve(result.curve)), **labels)


def pack_floats(result: AscentResult) -> bytes:
    """The `.npz` of an ascent: `picture` (C, H, W), in 0..1 unless the request does not clip, and `curve` (steps,)."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, picture=result.end.image.numpy(), curve=result.curve)
    return buffer.getvalue()
