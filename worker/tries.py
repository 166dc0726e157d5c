"""The tries of an ascent: what came out of each slot, what networks say of it, and what is saved of it."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import Problem
from shared.methods import ClassModel
from worker.engine.ascend import End, Slot
from worker.engine.render import Pixels, encode_animation, encode_png, render_curve, to_levels, to_rgb
from worker.judgement import judge
from worker.preprocess import Levels, crop_levels
from worker.recording import Recording, enlarge, shrink, thin_out
from worker.task import Judge, Task, file_stem

FLAT = 2.0
"""A picture whose levels vary by less (standard deviation, of 255) shows nothing."""

Verdict = dict[str, Any]


@dataclass(frozen=True)
class Try:
    """What came out of one slot.

    Attributes:
        seed: As the request named it.
        end: How it left the ascent, its picture in floats.
        levels: The picture as it is saved (H, W, C).
        curve: Its objective before every step.
        frames: Of its ascent; none where they are not kept, and neither are floats and curve then.
        stills: Pictures on the way, by step.
        verdict: What the network says of the saved picture.
        judges: What others say of it, by reference.
    """

    slot: Slot
    seed: int
    end: End
    levels: Levels
    curve: NDArray[np.float32]
    frames: list[Pixels] | None
    stills: dict[int, Levels]
    verdict: Verdict
    judges: dict[str, Verdict]

    def place(self) -> tuple[int, float]:
        """What tries are sorted by: the best, for the network itself, come first."""
        return self.verdict["rank"], -self.verdict["score"]

    def without_pictures(self) -> "Try":
        """What is left to say once its files are saved."""
        end = replace(self.end, picture=torch.zeros(0))
        return replace(self, levels=np.zeros((0, 0, 1), np.uint8), end=end, frames=None, stills={})

    def describe(self) -> dict[str, Any]:
        """What is measured of it."""
        found = {"seed": self.seed, "steps": self.end.steps, "stopped": self.end.reason, **self.verdict}
        return found | ({"judges": self.judges} if self.judges else {})


def judge_tries(
    task: Task[ClassModel], slots: Sequence[Slot], ends: Mapping[int, End], recording: Recording
) -> list[Try]:
    """The tries that came to something, judged as they are saved."""
    living = {number: to_levels(end.picture) for number, end in ends.items() if is_alive(end)}
    living = {number: levels for number, levels in living.items() if levels.std() >= FLAT}
    targets = [slots[number].target for number in living]
    own, *others = (
        judge_all(by, list(living.values()), targets) for by in (Judge(task.release, task.classifier), *task.judges)
    )
    curves, seeds = recording.curves(), task.request.params.seeds
    return [
        Try(
            slot=slots[number],
            seed=seeds[number % len(seeds)],
            end=ends[number],
            levels=levels,
            curve=curves[number],
            frames=recording.frames.get(number, []) if recording.frames_at is not None else None,
            stills=recording.stills.get(number, {}),
            verdict=own[place],
            judges={by.release.reference: said[place] for by, said in zip(task.judges, others, strict=True)},
        )
        for place, (number, levels) in enumerate(living.items())
    ]


def is_alive(end: End) -> bool:
    """Whether the slot came to a picture."""
    return end.reason != "dead" and bool(end.picture.isfinite().all())


def judge_all(by: Judge, pictures: Sequence[Levels], targets: Sequence[int], at_once: int = 16) -> list[Verdict]:
    """What a network says of saved pictures, each cropped as it crops its own."""
    verdicts: list[Verdict] = []
    for start in range(0, len(pictures), at_once):
        views = [crop_levels(levels, by.release.preprocessing) for levels in pictures[start : start + at_once]]
        verdicts += judge(by.classifier, by.release, views, targets[start : start + at_once])
    return verdicts


def save_tries(task: Task[ClassModel], target: int, tries: Sequence[Try]) -> Iterator[None]:
    """Every file of a target, the best try's under its plain name; yields after each try."""
    named = task.target(target)
    for number, one in enumerate(tries, 1):
        stem = file_stem(named) + (f"-{number}" if number > 1 else "")
        pixels = to_rgb(one.levels)
        task.save(f"{stem}.png", encode_png(pixels), target=named)
        for step, still in one.stills.items():
            task.save(f"{stem}-step-{step:05d}.png", encode_png(to_rgb(still)), target=named)
        if one.frames is not None:
            frames = [*one.frames, shrink(pixels)]
            frames = [enlarge(frame, frames[-1].shape[:2]) for frame in frames]  # octaves begin small
            task.save(f"{stem}.gif", encode_animation(frames, "GIF"), target=named)
            task.save(f"{stem}.webp", encode_animation(frames, "WEBP"), target=named)
            task.save(f"{stem}.npz", pack(one), target=named)
            task.save(f"{stem}-curve.png", encode_png(render_curve(one.curve)), target=named)
        yield


def pack(one: Try) -> bytes:
    """The picture in floats (C, H, W), 0..1 as far as its way of writing keeps it there, and its curve, as `.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, picture=one.end.picture.numpy(), curve=one.curve)
    return buffer.getvalue()


def save_metrics(
    task: Task[ClassModel],
    tries: Mapping[int, Sequence[Try]],
    explain: Callable[[Task[ClassModel], Sequence[int]], Problem],
) -> dict[str, Any]:
    """What was measured, as the job's metrics, and with every curve as a file."""
    targets, curves = [], {}
    for target, found in tries.items():
        named = task.target(target)
        measured = [one.describe() for one in found]
        failure = {"error": explain(task, [target]).document.model_dump(mode="json")}
        others = {"tries": measured} if len(measured) > 1 else {}
        targets.append({"target": named.model_dump(), **(measured[0] if measured else failure), **others})
        curves[file_stem(named)] = [thin_out(one.curve.tolist()) for one in found]
    metrics = {"summary": summarise(targets), "targets": targets}
    task.save("metrics.json", json.dumps(metrics | {"curves": curves}, indent=1).encode())
    return metrics


def summarise(targets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many of all targets each network recognises, and the mean probability that it gives them."""
    alive = [target for target in targets if "rank" in target]
    said: dict[str, list[Verdict]] = {"self": alive}
    for target in alive:
        for name, verdict in target.get("judges", {}).items():
            said.setdefault(name, []).append(verdict)
    return {
        name: {
            "top1": sum(verdict["rank"] == 1 for verdict in verdicts) / len(targets),
            "top5": sum(verdict["rank"] <= 5 for verdict in verdicts) / len(targets),
            "probability": sum(verdict["probability"] for verdict in verdicts) / len(targets),
        }
        for name, verdicts in said.items()
    }
