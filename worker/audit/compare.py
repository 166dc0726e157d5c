"""A release beside a baseline: every measure of every class and probe, from what their jobs have made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from shared.audits import Measured
from shared.catalogue import Release
from shared.parameters.audit import Probe
from worker.audit.appearance import KINDS, bring_to, describe, distances
from worker.audit.attention import compare_maps, overlap_with, share_inside
from worker.audit.chance import Values, less_shared, measure_classes
from worker.audit.evidence import Drawn, Look, Looks, Series
from worker.audit.shortcut import Mark, Trials
from worker.engine.classifier import Classifier
from worker.preprocess import Levels
from worker.view import crop_levels

SURE = 0.9
"""How probable, as a share of what is usual for its network, a class model is that has arrived.

One that has not is in nobody's eyes the class, and says nothing of what its network takes for it.
"""


@dataclass(frozen=True)
class Side:
    """One of the two releases, with what its jobs have made.

    Attributes:
        models: Its class models; none of classes that came to nothing.
        looks: What it makes of the probes.
    """

    release: Release
    classifier: Classifier
    models: Series
    looks: Looks


@dataclass
class ClassRow:
    """What is measured of one class.

    Attributes:
        figures: Plain figures by name, for the report.
        changes: What gates are held against, by gate.
        noise: What chance alone does, by gate.
        mark: The small mark that says most to the subject.
    """

    target: int
    name: str
    figures: dict[str, float] = field(default_factory=dict)
    changes: dict[str, Measured] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    mark: Mark | None = None


def have_same_weights(subject: Side, baseline: Side) -> bool:
    """Whether both networks are the same, tensor by tensor, whatever files they came in.

    Not whether they have drawn the same: each is run by its own measured plan, and another batch rounds otherwise.
    """
    built = [(side.release.architecture, side.release.arguments) for side in (subject, baseline)]
    ours, theirs = (side.classifier.network.state_dict() for side in (subject, baseline))
    alike = built[0] == built[1] and ours.keys() == theirs.keys()
    return alike and all(torch.equal(one, theirs[name]) for name, one in ours.items())


def compare_classes(
    subject: Side, baseline: Side, again: Series, probes: Mapping[str, Levels], *, boxes: Mapping[str, Probe]
) -> Iterator[dict[int, ClassRow]]:
    """Every measure of every class; yields what there is after each part of the work.

    Args:
        again: The baseline's second series of class models, by other seeds.
        probes: The pictures, at the network's size, by id.
        boxes: What is known of them.
    """
    names = subject.release.classes
    targets = sorted({*subject.models, *(look.target for look in subject.looks.values())})
    rows = {target: ClassRow(target, names[target]) for target in targets}
    _compare_models(rows, subject, baseline, again)
    yield rows
    _compare_looks(rows, subject, baseline, boxes)
    yield rows
    known = [(levels, subject.looks[image].target) for image, levels in probes.items() if image in subject.looks]
    pictures, labels = [levels for levels, _ in known], [label for _, label in known]
    trials = Trials(subject.classifier, baseline.classifier, pictures, labels)
    turned: dict[int, Values] = {}
    for row in rows.values():
        row.mark = mark = trials.try_class(row.target, _views(subject, row.target))
        if mark is not None:
            turned[row.target] = mark.subject - mark.baseline
            row.figures |= {
                "subject_turned": float(mark.subject.mean()),
                "baseline_turned": float(mark.baseline.mean()),
            }
        yield rows
    _note(rows, "shortcut", turned)
    yield rows


def _note(
    rows: Mapping[int, ClassRow], gate: str, by_class: Mapping[int, Values], noise: Mapping[int, float] | None = None
) -> None:
    """Writes down what a gate is held against, and what chance alone does."""
    for target, change in measure_classes(by_class).items():
        rows[target].changes[gate] = change
        rows[target].noise[gate] = noise[target] if noise else 0.0


def _compare_models(rows: dict[int, ClassRow], subject: Side, baseline: Side, again: Series) -> None:
    """How far class models have moved, beside how far chance moves them, and who recognises them."""
    moved: dict[int, Values] = {}
    unseen: dict[int, Values] = {}
    by_chance: dict[int, float] = {}
    arrived = {"subject": _find_arrived(subject.models), "baseline": _find_arrived(baseline.models)}
    for target, row in rows.items():
        ours, theirs, noise = (series.get(target, []) for series in (subject.models, baseline.models, again))
        if not (ours and theirs and noise):
            continue
        told = [describe([one.pixels for one in drawn], baseline.classifier) for drawn in (ours, theirs, noise)]
        ratios = []
        for kind in KINDS:
            first, second, third = ([one[kind] for one in each] for each in told)
            chance = max(float(distances(second, third).mean()), 1e-9)
            apart = distances(first, second).reshape(len(first), -1).mean(1)
            row.figures |= {f"{kind}_distance": float(apart.mean()), f"{kind}_noise": chance}
            ratios.append(apart / chance)
        moved[target] = np.mean(ratios, axis=0) - 1
        row.figures |= _describe_series(ours, "subject") | _describe_series(theirs, "baseline")
        row.figures |= {f"{side}_arrived": float(len(series[target])) for side, series in arrived.items()}
        unseen[target] = _seen_by(arrived["subject"][target], baseline.release.reference, theirs)
        by_chance[target] = float(np.std([_chance(one.verdict) for one in [*theirs, *noise]]))
    _note(rows, "recognition", unseen, by_chance)
    _note(rows, "appearance", less_shared(moved))


def _find_arrived(models: Series) -> Series:
    """Of every class, the class models that their network is as sure of as it usually is."""
    every = [_chance(one.verdict) for series in models.values() for one in series]
    sure = SURE * float(np.median(every)) if every else 0.0
    return {target: [one for one in series if _chance(one.verdict) >= sure] for target, series in models.items()}


def _seen_by(ours: Sequence[Drawn], baseline: str, theirs: Sequence[Drawn]) -> Values:
    """How much less probable the class is to the baseline in each of the subject's class models than in its own."""
    own = float(np.mean([_chance(one.verdict) for one in theirs]))
    if all(baseline in one.judges for one in ours):
        return np.array([own - _chance(one.judges[baseline]) for one in ours])
    return np.array([own - _chance(one.verdict) for one in ours])  # the baseline is the subject


def _describe_series(drawn: Sequence[Drawn], side: str) -> dict[str, float]:
    found = {
        f"{side}_score": float(np.mean([one.verdict["score"] for one in drawn])),
        f"{side}_probability": float(np.mean([_chance(one.verdict) for one in drawn])),
        f"{side}_steps": float(np.mean([one.steps for one in drawn])),
    }
    for judge in drawn[0].judges:
        found[f"{side}_seen_by_{judge}"] = float(np.mean([_chance(one.judges[judge]) for one in drawn]))
    return found


def _chance(verdict: Mapping[str, Any]) -> float:
    return float(verdict["probability"])


def _compare_looks(rows: dict[int, ClassRow], subject: Side, baseline: Side, probes: Mapping[str, Probe]) -> None:
    """Predictions, probabilities and maps on the same pictures."""
    shared = [image for image in subject.looks if image in baseline.looks]
    lost: dict[int, Values] = {}
    missed: dict[int, Values] = {}
    for target, row in rows.items():
        images = [image for image in shared if subject.looks[image].target == target]
        if not images:
            continue
        pairs = [(subject.looks[image], baseline.looks[image]) for image in images]
        lost[target] = np.array([_chance(theirs.verdict) - _chance(ours.verdict) for ours, theirs in pairs])
        alike = [compare_maps(ours.view, theirs.view) for ours, theirs in pairs]
        row.figures |= {name: float(np.mean([one[name] for one in alike])) for name in alike[0]}
        row.figures |= {
            "probes": float(len(images)),
            "flips": float(sum(a.verdict["predicted"]["index"] != b.verdict["predicted"]["index"] for a, b in pairs)),
            "subject_right": float(np.mean([ours.right for ours, _ in pairs])),
            "baseline_right": float(np.mean([theirs.right for _, theirs in pairs])),
            "margin_change": float(
                np.mean([_margin(ours.verdict) - _margin(theirs.verdict) for ours, theirs in pairs])
            ),
        }
        inside = [
            (share_inside(ours.picture, probes[image].boxes), share_inside(theirs.picture, probes[image].boxes))
            for image, (ours, theirs) in zip(images, pairs, strict=True)
        ]
        known = [(ours, theirs) for ours, theirs in inside if ours is not None and theirs is not None]
        if known:
            row.figures |= {
                "subject_focus": float(np.mean([ours for ours, _ in known])),
                "baseline_focus": float(np.mean([theirs for _, theirs in known])),
            }
            row.figures |= _describe_boxes(pairs, probes)
            missed[target] = np.array([theirs - ours for ours, theirs in known])
    _note(rows, "focus", missed)
    _note(rows, "confidence", less_shared(lost))


def _describe_boxes(pairs: Sequence[tuple[Look, Look]], probes: Mapping[str, Probe]) -> dict[str, float]:
    """How well the boxes that maps point at fit the true ones, for each side."""
    known = [(overlap_with(look.picture, probes[look.image].boxes) for look in pair) for pair in pairs]
    fits = [(ours, theirs) for ours, theirs in known if ours is not None and theirs is not None]
    return {
        f"{side}_overlap": float(np.mean([pair[place] for pair in fits]))
        for place, side in enumerate(("subject", "baseline"))
        if fits
    }


def _margin(verdict: Mapping[str, Any]) -> float:
    """Log-odds of the true class."""
    chance = min(max(_chance(verdict), 1e-6), 1 - 1e-6)
    return float(np.log(chance / (1 - chance)))


def _views(side: Side, target: int) -> list[Levels]:
    """Class models as their network sees them."""
    fit = side.release.preprocessing
    return [crop_levels(bring_to(one.pixels, fit.channels), fit) for one in side.models.get(target, [])]


def count_losses(subject: Looks, baseline: Looks) -> Values:
    """For each probe that both have seen: 1 where the subject alone is wrong, −1 where the baseline alone is."""
    shared = [image for image in subject if image in baseline]
    return np.array([float(baseline[image].right) - float(subject[image].right) for image in shared])
