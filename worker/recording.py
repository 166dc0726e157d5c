"""What is kept of an ascent while it goes on: each slot's curve, and pictures of it on the way."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.ascent import Step
from worker.engine.render import Pixels, to_levels, to_rgb

FRAME_SIDE = 256
"""Longest side of an animation's frame in pixels."""


def choose_frames(steps: int, count: int) -> frozenset[int]:
    """The steps, evenly spread, after which a frame is taken: `count` of them, the last picture not among them."""
    return frozenset(round(steps * number / count) for number in range(1, count)) - {0}


class Notes(TypedDict):
    """What was noted, as it is put away."""

    values: dict[int, list[float]]
    frames: dict[int, list[Tensor]]
    stills: dict[int, dict[int, Tensor]]


@dataclass
class Recording:
    """Takes notes of the steps of one batch.

    Attributes:
        frames_at: Steps after which frames are taken; None where there are to be none.
        stills_every: Steps between two stills; None for none.
        show: Shows the newest frames to those who follow the job.
    """

    frames_at: frozenset[int] | None
    stills_every: int | None
    show: Callable[[Sequence[Pixels]], None]
    frames: dict[int, list[Pixels]] = field(default_factory=dict)
    stills: dict[int, dict[int, NDArray[np.uint8]]] = field(default_factory=dict)
    _values: list[tuple[tuple[int, ...], Tensor]] = field(default_factory=list)
    _earlier: dict[int, list[float]] = field(default_factory=dict)

    def note(self, step: Step) -> None:
        """Looks at a step; nothing is read from the device unless a picture is due."""
        self._values.append((step.climbed, step.values))
        stills = [row for row, taken in enumerate(step.taken) if self.stills_every and taken % self.stills_every == 0]
        frames = [row for row, taken in enumerate(step.taken) if self.frames_at and taken in self.frames_at]
        rows = sorted({*stills, *frames})
        for row, picture in zip(rows, step.pictures(rows).cpu() if rows else (), strict=True):
            slot, levels = step.slots[row], to_levels(picture)
            if row in stills:
                self.stills.setdefault(slot, {})[step.taken[row]] = levels
            if row in frames:
                self.frames.setdefault(slot, []).append(shrink(to_rgb(levels)))
        if frames:
            self.show([self.frames[slot][-1] for slot in sorted(self.frames)])

    def curves(self) -> dict[int, NDArray[np.float32]]:
        """Each slot's objective before every step that it took."""
        return {slot: np.asarray(values, np.float32) for slot, values in self._read_values().items()}

    def _read_values(self) -> dict[int, list[float]]:
        found = {slot: list(values) for slot, values in self._earlier.items()}
        if self._values:
            flat = torch.cat([values for _, values in self._values]).tolist()
            for slot, value in zip((slot for slots, _ in self._values for slot in slots), flat, strict=True):
                found.setdefault(slot, []).append(value)
        return found

    def put_away(self) -> Notes:
        """What was noted so far."""
        return Notes(
            values=self._read_values(),
            frames={slot: [torch.tensor(frame) for frame in frames] for slot, frames in self.frames.items()},
            stills={
                slot: {step: torch.tensor(still) for step, still in stills.items()}
                for slot, stills in self.stills.items()
            },
        )

    def restore(self, notes: Notes) -> None:
        """Goes on from what was noted before."""
        self._earlier, self._values = notes["values"], []
        self.frames = {slot: [frame.numpy() for frame in frames] for slot, frames in notes["frames"].items()}
        self.stills = {
            slot: {step: still.numpy() for step, still in stills.items()} for slot, stills in notes["stills"].items()
        }


def shrink(pixels: Pixels, side: int = FRAME_SIDE) -> Pixels:
    """A picture (H, W, 3) no longer than `side` either way."""
    scale = side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def enlarge(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture (H, W, 3) at another height and width."""
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def thin_out(values: Iterable[float], most: int = 256) -> list[float]:
    """At most so many of the values, evenly spread, the first and the last among them."""
    every = list(values)
    if len(every) <= most:
        return every
    return [every[round(place)] for place in np.linspace(0, len(every) - 1, most)]
