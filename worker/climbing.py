"""A batch of ascents and what comes out of it: pictures as they are saved, and what was noted on the way."""

import io
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from shared.jobs import Progress
from worker.engine.ascent import Ascent, End, Slot
from worker.engine.classifier import Classifier
from worker.engine.octaves import ascend_octaves
from worker.engine.render import Pixels, encode_animation, encode_png, render_curve, to_levels, to_rgb
from worker.preprocess import Levels
from worker.recording import Recording, enlarge, shrink
from worker.task import Save

SMALL_JOB = 32
"""A job of more pictures keeps no animations, curves and floats unless it is asked to."""


@dataclass(frozen=True)
class Climbed:
    """What came out of one slot.

    Attributes:
        end: How it left the ascent, its picture in floats.
        levels: The picture as it is saved (H, W, C).
        curve: Its objective before every step.
        frames: Of its ascent; none where they are not kept, and neither are floats and curve then.
        stills: Pictures on the way, by step.
    """

    end: End
    levels: Levels
    curve: NDArray[np.float32]
    frames: list[Pixels] | None
    stills: dict[int, Levels]


def wants_extras(wanted: bool | None, pictures: int) -> bool:
    """Whether animations, curves and floats are kept in a job of so many pictures."""
    return pictures <= SMALL_JOB if wanted is None else wanted


def climb(
    climber: Classifier,
    ascents: Sequence[Ascent],
    slots: Sequence[Slot],
    recording: Recording,
    *,
    at_once: int,
    done: int,
    total: int,
    each: int = 1,
    pictures: Tensor | None = None,
) -> Generator[Progress, None, dict[int, Climbed]]:
    """Climbs one batch and yields progress; returns what came of each slot that came to a picture, by its number.

    Args:
        done: Steps that were taken before this batch.
        total: Steps of the whole job.
        each: How many of them one step of this batch counts for.
        pictures: Where the ascents begin (N, C, H, W), to be given back what octaves lose.
    """
    ends: dict[int, End] = {}
    steps = ascend_octaves(climber, ascents, slots, at_once=at_once, pictures=pictures)
    for taken, step in enumerate(steps, 1):
        recording.note(step)
        ends |= {end.slot: end for end in step.ended}
        yield Progress(done=done + taken * each, total=total, unit="step")
    curves = recording.curves()
    return {
        number: Climbed(
            end, to_levels(end.picture), curves[number],
            recording.frames.get(number, []) if recording.frames_at is not None else None,
            recording.stills.get(number, {}),
        )
        for number, end in sorted(ends.items())
        if end.reason != "dead" and bool(end.picture.isfinite().all())
    }  # fmt: skip


def save_ascent(save: Save, stem: str, climbed: Climbed, last: Levels | None = None, **belonging: Any) -> None:
    """Animation, floats and curve of an ascent, where they are kept.

    Args:
        last: What the animation ends with, where that is not the picture itself.
        belonging: The target and the picture that the files belong to.
    """
    if climbed.frames is None:
        return
    frames = [*climbed.frames, shrink(to_rgb(climbed.levels if last is None else last))]
    frames = [enlarge(frame, frames[-1].shape[:2]) for frame in frames]  # octaves begin small
    save(f"{stem}.gif", encode_animation(frames, "GIF"), **belonging)
    save(f"{stem}.webp", encode_animation(frames, "WEBP"), **belonging)
    save(f"{stem}.npz", pack(climbed), **belonging)
    save(f"{stem}-curve.png", encode_png(render_curve(climbed.curve)), **belonging)


def pack(climbed: Climbed) -> bytes:
    """The picture in floats (C, H, W), 0..1 as far as its way of writing keeps it there, and its curve, as `.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, picture=climbed.end.picture.numpy(), curve=climbed.curve)
    return buffer.getvalue()
