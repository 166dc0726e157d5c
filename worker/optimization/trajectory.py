"""What is recorded during an ascent: the curve of each slot, and images along the way."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.ascent.config import Step
from worker.engine.render import RGBImage, to_rgb, to_uint8
from worker.inputs.preprocess import shrink

FRAME_SIDE = 256
"""Longest side of a frame of an animation, in pixels."""


class SavedTrajectory(TypedDict):
    """A trajectory in a checkpoint."""

    values: dict[int, list[float]]
    frames: dict[int, list[Tensor]]
    stills: dict[int, dict[int, Tensor]]


@dataclass
class Trajectory:
    """Records the steps of a group of slots.

    Attributes:
        frames_at: Steps after which frames are taken; None if the ascent has no animation.
        stills_every: Steps between two stills; None for no stills.
        show: Sends the newest frames to the job's preview.
        frames: Frames (h, w, 3) of each slot.
        stills: Stills (H, W, C) of each slot, by step.
    """

    frames_at: frozenset[int] | None
    stills_every: int | None
    show: Callable[[Sequence[RGBImage]], None]
    frames: dict[int, list[RGBImage]] = field(default_factory=dict)
    stills: dict[int, dict[int, NDArray[np.uint8]]] = field(default_factory=dict)
    _values: list[tuple[tuple[int, ...], Tensor]] = field(default_factory=list)
    _restored: dict[int, list[float]] = field(default_factory=dict)

    def record(self, step: Step) -> None:
        """Records a step; reads from the device only if an image is due."""
        self._values.append((step.stepped, step.values))
        stills = [row for row, taken in enumerate(step.taken) if self.stills_every and taken % self.stills_every == 0]
        frames = [row for row, taken in enumerate(step.taken) if self.frames_at and taken in self.frames_at]
        rows = sorted({*stills, *frames})
        for row, image in zip(rows, step.images(rows).cpu() if rows else (), strict=True):
            if not bool(image.isfinite().all()):
                continue
            slot, levels = step.slots[row], to_uint8(image)
            if row in stills:
                self.stills.setdefault(slot, {})[step.taken[row]] = levels
            if row in frames:
                self.frames.setdefault(slot, []).append(shrink(to_rgb(levels), FRAME_SIDE))
        if frames and self.frames:
            self.show([self.frames[slot][-1] for slot in sorted(self.frames)])

    def curves(self) -> dict[int, NDArray[np.float32]]:
        """The objective of each slot before each of its steps: (steps,)."""
        return {slot: np.asarray(values, np.float32) for slot, values in self._read_values().items()}

    def _read_values(self) -> dict[int, list[float]]:
        curves = {slot: list(values) for slot, values in self._restored.items()}
        if self._values:
            flat = torch.cat([values for _, values in self._values]).tolist()
            for slot, value in zip((slot for slots, _ in self._values for slot in slots), flat, strict=True):
                curves.setdefault(slot, []).append(value)
        return curves

    def save(self) -> SavedTrajectory:
        """Returns what was recorded so far, for a checkpoint."""
        return SavedTrajectory(
            values=self._read_values(),
            frames={slot: [torch.tensor(frame) for frame in frames] for slot, frames in self.frames.items()},
            stills={
                slot: {step: torch.tensor(still) for step, still in stills.items()}
                for slot, stills in self.stills.items()
            },
        )

    def restore(self, saved: SavedTrajectory) -> None:
        """Continues a trajectory of an earlier attempt."""
        self._restored, self._values = saved["values"], []
        self.frames = {slot: [frame.numpy() for frame in frames] for slot, frames in saved["frames"].items()}
        self.stills = {
            slot: {step: still.numpy() for step, still in stills.items()} for slot, stills in saved["stills"].items()
        }


def enlarge(pixels: RGBImage, size: tuple[int, int]) -> RGBImage:
    """Scales an image (h, w, 3) to a height and width (H, W)."""
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def thin_out(values: Iterable[float], count: int = 256) -> list[float]:
    """At most `count` of the values, evenly spread, including the first and the last."""
    every = list(values)
    if len(every) <= count:
        return every
    return [every[round(position)] for position in np.linspace(0, len(every) - 1, count)]
