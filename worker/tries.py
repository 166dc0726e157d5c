"""The tries of an ascent: what came out of each slot, what networks say of it, and what is saved of it."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.jobs import TargetClass
from shared.methods import ClassModel
from worker.climbing import Climbed, save_ascent
from worker.engine.ascent import Slot
from worker.engine.render import Pixels, decode_png, encode_png, to_rgb
from worker.judgement import judge
from worker.preprocess import Levels
from worker.task import Judge, Task, file_stem
from worker.view import crop_levels

FLAT = 2.0
"""A picture whose levels vary by less (standard deviation, of 255) shows nothing."""

Verdict = dict[str, Any]
Cell = tuple[Pixels, str]


@dataclass(frozen=True)
class Try:
    """What came out of one slot, and what networks say of it.

    Attributes:
        seed: As the request named it.
        verdict: What the network says of the saved picture.
        judges: What others say of it, by reference.
    """

    target: int
    seed: int
    climbed: Climbed
    verdict: Verdict
    judges: dict[str, Verdict]

    def place(self) -> tuple[int, float]:
        """What tries are sorted by: the best, for the network itself, come first."""
        return self.verdict["rank"], -self.verdict["score"]

    def describe(self) -> dict[str, Any]:
        """What is measured of it."""
        end = self.climbed.end
        found = {"seed": self.seed, "steps": end.steps, "stopped": end.reason, **self.verdict}
        return found | ({"judges": self.judges} if self.judges else {})


def judge_tries(task: Task[ClassModel], slots: Sequence[Slot], climbed: Mapping[int, Climbed]) -> list[Try]:
    """The tries that came to something, judged as they are saved."""
    living = {number: one for number, one in climbed.items() if one.levels.std() >= FLAT}
    targets = [slots[number].target for number in living]
    pictures = [one.levels for one in living.values()]
    own, *others = (judge_all(by, pictures, targets) for by in (Judge(task.release, task.classifier), *task.judges))
    seeds = task.request.params.seeds
    return [
        Try(
            target=slots[number].target,
            seed=seeds[number % len(seeds)],
            climbed=one,
            verdict=own[place],
            judges={by.release.reference: said[place] for by, said in zip(task.judges, others, strict=True)},
        )
        for place, (number, one) in enumerate(living.items())
    ]


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
        task.save(f"{stem}.png", encode_png(to_rgb(one.climbed.levels)), target=named)
        for step, still in one.climbed.stills.items():
            task.save(f"{stem}-step-{step:05d}.png", encode_png(to_rgb(still)), target=named)
        save_ascent(task.save, stem, one.climbed, target=named)
        yield


@dataclass(frozen=True)
class Found:
    """What a share of a job has found, and what of it goes onto the job's contact sheet."""

    targets: list[dict[str, Any]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    def add(self, target: dict[str, Any], cell: Cell | None) -> None:
        self.targets.append(target)
        self.cells.extend([cell] if cell else [])

    def pack(self) -> dict[str, Any]:
        """As JSON can carry it."""
        cells = [[b64encode(encode_png(pixels)).decode(), label] for pixels, label in self.cells]
        return {"targets": self.targets, "cells": cells}

    @classmethod
    def unpack(cls, part: Mapping[str, Any]) -> "Found":
        cells = [(decode_png(b64decode(data)), label) for data, label in part.get("cells", [])]
        return cls(part["targets"], cells)


def save_metrics(task: Task[ClassModel], targets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was measured, as the job's metrics, and with every curve as a file."""
    stems = [file_stem(TargetClass(**target["target"])) for target in targets]
    curves = {stem: target.get("curves", []) for stem, target in zip(stems, targets, strict=True)}
    plain = [{name: value for name, value in target.items() if name != "curves"} for target in targets]
    metrics = {"summary": summarise(plain), "targets": plain}
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
