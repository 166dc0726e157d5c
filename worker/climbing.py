"""A batch of ascents and what comes out of it: pictures as they are saved, and what was noted on the way."""

import io
import itertools
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from shared.jobs import Progress
from worker.checkpoint import Checkpoint, pack, unpack
from worker.engine.ascent import Ascent, End, Slot, Step
from worker.engine.batch import State
from worker.engine.classifier import Classifier
from worker.engine.octaves import RunningBatch, ascend_octaves
from worker.engine.render import Pixels, encode_animation, encode_png, render_curve, to_levels, to_rgb
from worker.pool import Want
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
    return collect(ends, recording)


class Climbers:
    """The running batch of a lane: slots of several jobs, which take their steps together."""

    def __init__(self, climber: Classifier, at_once: int) -> None:
        self._running = RunningBatch(climber, at_once=at_once)
        self._numbers = itertools.count()

    def enter(self, ascents: Sequence[Ascent], slots: Sequence[Slot], checkpoint: Checkpoint | None) -> dict[int, int]:
        """Takes in the slots of a job that have not ended; their places in the job by the numbers they have here."""
        states = checkpoint["states"] if checkpoint else None
        names = {next(self._numbers): place for place in range(len(slots)) if states is None or place in states}
        climbing = {number: slots[place] for number, place in names.items()}
        if states is None:
            self._running.join(ascents, climbing)
        else:
            self._running.restore(ascents, climbing, {number: states[place] for number, place in names.items()})
        return names

    def leave(self, numbers: Collection[int]) -> None:
        self._running.leave(numbers)

    def states(self, names: Mapping[int, int]) -> dict[int, tuple[int, State]]:
        """How far slots are, by their places in their job."""
        return {names[number]: state for number, state in self._running.states(names).items()}

    def compute(self, wants: Sequence[Mapping[int, int]]) -> list[list[Step]]:
        """One step of all slots that are wanted: for each want its own part of it, under its own names."""
        steps = self._running.step({number for names in wants for number in names})
        return [[part for step in steps if (part := step.of(names)).climbed] for names in wants]


def climb_together(
    climbers: Climbers,
    ascents: Sequence[Ascent],
    slots: Sequence[Slot],
    recording: Recording,
    *,
    key: str,
    checkpoint: bytes | None,
) -> Generator[Want, list[Step], dict[int, Climbed]]:
    """Climbs a job's slots among those of others; returns what came of each slot that came to a picture.

    Args:
        key: What the ascents are made with, beside the slots.
        checkpoint: How far an earlier attempt had come.
    """
    earlier = unpack(checkpoint, key)
    ends: dict[int, End] = {}
    if earlier is not None:
        recording.restore(earlier["notes"])
        ends = {place: End(place, *end) for place, end in earlier["ends"].items()}
    each = sum(ascent.steps for ascent in ascents)
    names = climbers.enter(ascents, slots, earlier)
    taken = dict.fromkeys(range(len(slots)), 0) | count_taken(ascents, earlier) | dict.fromkeys(ends, each)

    def put_away() -> bytes:
        return pack(key, climbers.states(names), ends, recording.put_away())

    try:
        while len(ends) < len(slots):
            progress = Progress(done=sum(taken.values()), total=each * len(slots), unit="step")
            for step in (yield Want(climbers, names, progress, put_away)):
                recording.note(step)
                ends |= {end.slot: end for end in step.ended}
                taken |= dict(zip(step.slots, step.taken, strict=True)) | {end.slot: each for end in step.ended}
    finally:
        climbers.leave(names)
    return collect(ends, recording)


def count_taken(ascents: Sequence[Ascent], checkpoint: Checkpoint | None) -> dict[int, int]:
    """The steps that slots had taken when they were put away, by their places, those of earlier octaves among them."""
    states = checkpoint["states"] if checkpoint else {}
    return {
        place: sum(ascent.steps for ascent in ascents[:octave]) + state["taken"]
        for place, (octave, state) in states.items()
    }


def collect(ends: Mapping[int, End], recording: Recording) -> dict[int, Climbed]:
    """What came of each slot that came to a picture, by its number."""
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
    save(f"{stem}.npz", pack_floats(climbed), **belonging)
    save(f"{stem}-curve.png", encode_png(render_curve(climbed.curve)), **belonging)


def pack_floats(climbed: Climbed) -> bytes:
    """The picture in floats (C, H, W), 0..1 as far as its way of writing keeps it there, and its curve, as `.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, picture=climbed.end.picture.numpy(), curve=climbed.curve)
    return buffer.getvalue()
