"""Comparison of the subject with a baseline: all measurements of each class, from the results of the member jobs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from archetype.contract.audit import Estimate
from archetype.contract.audit_plan import Probe
from shared.audits.identical import FILE_IS_CODE
from shared.catalogue.release import Release
from worker.audit.map_similarity import box_overlap, compare_maps, fraction_inside
from worker.audit.model_distance import KINDS, convert_channels, describe_images, pairwise_distances
from worker.audit.shortcut import Mark, MarkSearch
from worker.audit.statistics import Values, estimate_class_means, subtract_common_change
from worker.engine.model.classifier import Classifier
from worker.inputs.preprocess import Levels
from worker.inputs.view import crop_levels
from worker.job.member_results import DrawnModel, ProbePrediction, ProbePredictions, Series

CONVERGED = 0.9
"""Least probability of a converged class model, as a fraction of the median over all class models of its network.

A class model that has not converged does not show the class, so it says nothing about what the network has learned.
"""


@dataclass(frozen=True)
class Side:
    """One of the two releases with the results of its jobs.

    Attributes:
        release: The release.
        classifier: Its network.
        models: Its class models, without classes whose optimization failed.
        looks: Its predictions and saliency maps for the probes.
    """

    release: Release
    classifier: Classifier
    models: Series
    looks: ProbePredictions


@dataclass
class ClassRow:
    """Measurements of one class.

    Attributes:
        target: Index of the class.
        name: Name of the class, with its index if another class has the same name.
        figures: Measured values by name, for the report.
        changes: Changes that the gates evaluate, by gate.
        noise: Changes that random seeds alone cause, by gate.
        mark: The mark that makes the subject predict the class most often.
    """

    target: int
    name: str
    figures: dict[str, float] = field(default_factory=dict)
    changes: dict[str, Estimate] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    mark: Mark | None = None


def have_same_weights(subject: Side, baseline: Side) -> bool:
    """Whether both networks have the same architecture and equal weights, regardless of their weight files.

    The class models of such networks can still differ: each network runs with its own execution plan, and another
    batch size rounds differently. Networks whose file is their code may compute something else with equal weights.
    """
    if subject.release.identity == baseline.release.identity:
        return True
    if subject.release.architecture in FILE_IS_CODE:
        return False
    first, second = ((side.release.architecture, side.release.arguments) for side in (subject, baseline))
    weights, baseline_weights = (side.classifier.network.state_dict() for side in (subject, baseline))
    return (
        first == second
        and weights.keys() == baseline_weights.keys()
        and all(torch.equal(tensor, baseline_weights[name]) for name, tensor in weights.items())
    )


def compare_classes(
    subject: Side, baseline: Side, noise_models: Series, images: Mapping[str, Levels], *, probes: Mapping[str, Probe]
) -> Iterator[dict[int, ClassRow]]:
    """Measures every class. Yields the measurements so far after each part of the work.

    Args:
        subject: The audited release.
        baseline: The release to compare it with.
        noise_models: The baseline's second series of class models, with other seeds.
        images: Images of the probes at the network's input size, by image id.
        probes: The probes, by image id.
    """
    names = subject.release.class_names
    targets = sorted({*subject.models, *(look.target for look in subject.looks.values())})
    rows = {target: ClassRow(target, names.label(target)) for target in targets}
    _compare_models(rows, subject, baseline, noise_models)
    yield rows
    _compare_predictions(rows, subject, baseline, probes)
    yield rows
    labeled = [(levels, subject.looks[image].target) for image, levels in images.items() if image in subject.looks]
    search = MarkSearch(
        subject.classifier, baseline.classifier, [levels for levels, _ in labeled], [label for _, label in labeled]
    )
    changes: dict[int, Values] = {}
    for row in rows.values():
        row.mark = mark = search.find_mark(row.target, _convert_models(subject, row.target))
        if mark is not None:
            changes[row.target] = mark.subject - mark.baseline
            row.figures |= {
                "subject_turned": float(mark.subject.mean()),
                "baseline_turned": float(mark.baseline.mean()),
            }
        yield rows
    _record_changes(rows, "shortcut", changes)
    yield rows


def _record_changes(
    rows: Mapping[int, ClassRow], gate: str, by_class: Mapping[int, Values], noise: Mapping[int, float] | None = None
) -> None:
    """Adds to each row the change that a gate evaluates, and the change that random seeds alone cause."""
    for target, change in estimate_class_means(by_class).items():
        rows[target].changes[gate] = change
        rows[target].noise[gate] = noise[target] if noise else 0.0


def _compare_models(rows: dict[int, ClassRow], subject: Side, baseline: Side, noise_models: Series) -> None:
    """Measures how far class models differ, relative to the effect of seeds, and who recognizes them."""
    appearance: dict[int, Values] = {}
    recognition: dict[int, Values] = {}
    recognition_noise: dict[int, float] = {}
    converged = {"subject": _find_converged(subject.models), "baseline": _find_converged(baseline.models)}
    for target, row in rows.items():
        models, baseline_models, noise = (
            series.get(target, []) for series in (subject.models, baseline.models, noise_models)
        )
        if not (models and baseline_models and noise):
            continue
        appearance[target] = _measure_distances(row, baseline.classifier, models, baseline_models, noise)
        row.figures |= _describe_series(models, "subject") | _describe_series(baseline_models, "baseline")
        row.figures |= {f"{side}_arrived": float(len(series[target])) for side, series in converged.items()}
        recognition[target] = _measure_recognition(
            converged["subject"][target], baseline.release.reference, baseline_models
        )
        recognition_noise[target] = float(np.std(_probabilities([*baseline_models, *noise])))
    _record_changes(rows, "recognition", recognition, recognition_noise)
    _record_changes(rows, "appearance", subtract_common_change(appearance))


def _measure_distances(
    row: ClassRow,
    classifier: Classifier,
    models: Sequence[DrawnModel],
    baseline: Sequence[DrawnModel],
    noise: Sequence[DrawnModel],
) -> Values:
    """Distance of each of the subject's class models to the baseline's, as an excess over the effect of seeds: (N,)."""
    described, described_baseline, described_noise = (
        describe_images([model.pixels for model in series], classifier) for series in (models, baseline, noise)
    )
    ratios = []
    for kind in KINDS:
        first, second, third = (
            [vectors[kind] for vectors in each] for each in (described, described_baseline, described_noise)
        )
        by_chance = max(float(pairwise_distances(second, third).mean()), 1e-9)
        distances = pairwise_distances(first, second).reshape(len(first), -1).mean(1)
        row.figures |= {f"{kind}_distance": float(distances.mean()), f"{kind}_noise": by_chance}
        ratios.append(distances / by_chance)
    return np.asarray(np.mean(ratios, axis=0) - 1)


def _find_converged(models: Series) -> Series:
    """The class models whose probability is near the median of their network, by class."""
    probabilities = _probabilities([model for series in models.values() for model in series])
    threshold = CONVERGED * float(np.median(probabilities)) if probabilities else 0.0
    return {
        target: [model for model in series if _probability(model.verdict) >= threshold]
        for target, series in models.items()
    }


def _measure_recognition(models: Sequence[DrawnModel], baseline: str, baseline_models: Sequence[DrawnModel]) -> Values:
    """How much less probable the subject's class models are to the baseline than the baseline's own: (N,)."""
    own = float(np.mean(_probabilities(baseline_models)))
    if all(baseline in model.judges for model in models):
        return np.array([own - _probability(model.judges[baseline]) for model in models])
    return np.array([own - probability for probability in _probabilities(models)])  # the baseline is the subject


def _describe_series(models: Sequence[DrawnModel], side: str) -> dict[str, float]:
    figures = {
        f"{side}_score": float(np.mean([model.verdict["score"] for model in models])),
        f"{side}_probability": float(np.mean(_probabilities(models))),
        f"{side}_steps": float(np.mean([model.steps for model in models])),
    }
    for judge in models[0].judges:
        figures[f"{side}_seen_by_{judge}"] = float(np.mean([_probability(model.judges[judge]) for model in models]))
    return figures


def _probability(verdict: Mapping[str, Any]) -> float:
    return float(verdict["probability"])


def _probabilities(models: Sequence[DrawnModel]) -> list[float]:
    return [_probability(model.verdict) for model in models]


def _compare_predictions(rows: dict[int, ClassRow], subject: Side, baseline: Side, probes: Mapping[str, Probe]) -> None:
    """Measures predictions, probabilities and saliency maps on the probes that both releases processed."""
    shared = [image for image in subject.looks if image in baseline.looks]
    confidence: dict[int, Values] = {}
    focus: dict[int, Values] = {}
    for target, row in rows.items():
        images = [image for image in shared if subject.looks[image].target == target]
        if not images:
            continue
        pairs = [(subject.looks[image], baseline.looks[image]) for image in images]
        confidence[target] = np.array(
            [_probability(before.verdict) - _probability(after.verdict) for after, before in pairs]
        )
        row.figures |= _describe_maps([pair for pair in pairs if pair[0].is_mapped]) | _describe_predictions(pairs)
        fractions = [tuple(fraction_inside(look.picture, probes[look.image].boxes) for look in pair) for pair in pairs]
        inside = [(after, before) for after, before in fractions if after is not None and before is not None]
        if inside:
            row.figures |= {
                "subject_focus": float(np.mean([after for after, _ in inside])),
                "baseline_focus": float(np.mean([before for _, before in inside])),
            }
            row.figures |= _describe_boxes(pairs, probes)
            focus[target] = np.array([before - after for after, before in inside])
    _record_changes(rows, "focus", focus)
    _record_changes(rows, "confidence", subtract_common_change(confidence))


def _describe_maps(pairs: Sequence[tuple[ProbePrediction, ProbePrediction]]) -> dict[str, float]:
    """Mean similarity of the saliency maps of subject and baseline."""
    similarities = [compare_maps(after.view, before.view) for after, before in pairs]
    return {name: float(np.mean([each[name] for each in similarities])) for name in similarities[0]} if pairs else {}


def _describe_predictions(pairs: Sequence[tuple[ProbePrediction, ProbePrediction]]) -> dict[str, float]:
    predicted = [[look.verdict["predicted"]["index"] for look in pair] for pair in pairs]
    margins = [_log_odds(after.verdict) - _log_odds(before.verdict) for after, before in pairs]
    return {
        "probes": float(len(pairs)),
        "flips": float(sum(after != before for after, before in predicted)),
        "subject_right": float(np.mean([after.right for after, _ in pairs])),
        "baseline_right": float(np.mean([before.right for _, before in pairs])),
        "margin_change": float(np.mean(margins)),
    }


def _describe_boxes(
    pairs: Sequence[tuple[ProbePrediction, ProbePrediction]], probes: Mapping[str, Probe]
) -> dict[str, float]:
    """Mean overlap of the boxes around the saliency maps' maxima with the true boxes, for each side."""
    overlaps = [tuple(box_overlap(look.picture, probes[look.image].boxes) for look in pair) for pair in pairs]
    known = [(after, before) for after, before in overlaps if after is not None and before is not None]
    return {
        f"{side}_overlap": float(np.mean([pair[place] for pair in known]))
        for place, side in enumerate(("subject", "baseline"))
        if known
    }


def _log_odds(verdict: Mapping[str, Any]) -> float:
    """Log-odds of the true class."""
    probability = min(max(_probability(verdict), 1e-6), 1 - 1e-6)
    return float(np.log(probability / (1 - probability)))


def _convert_models(side: Side, target: int) -> list[Levels]:
    """Class models of a class as inputs of their network, each (H, W, C)."""
    preprocessing = side.release.preprocessing
    return [
        crop_levels(convert_channels(model.pixels, preprocessing.channels), preprocessing)
        for model in side.models.get(target, [])
    ]


def count_losses(subject: ProbePredictions, baseline: ProbePredictions) -> Values:
    """For each shared probe: 1 if only the subject is wrong, −1 if only the baseline is wrong, else 0: (N,)."""
    shared = [image for image in subject if image in baseline]
    return np.array([float(baseline[image].right) - float(subject[image].right) for image in shared])
