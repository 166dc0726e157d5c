"""Measurements of a class from the class models of two releases."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from shared.catalogue.release import Release
from tests.support.networks import Small, seeded
from worker.audit.compare import ClassRow, Side, compare_classes
from worker.engine.model.classifier import Classifier, open_classifier
from worker.job.member_results import DrawnModel, Series

SIZE, CLASSES = 32, ["bee", "die", "lemon"]
STEADY = [(0.99, 0.98), (1.0, 1.0), (0.98, 0.97)]


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIZE, SIZE), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **options) as opened:
        yield opened


def draw(target: int, seed: int, own: float, judged: float | None) -> DrawnModel:
    pixels = np.random.default_rng(100 * target + seed).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    judges = {} if judged is None else {"m@1": {"probability": judged}}
    return DrawnModel(target, seed, 128, pixels, {"probability": own, "score": 9.0, "rank": 1}, judges)


def draw_series(bees: Sequence[tuple[float, float]], first: int = 0) -> Series:
    """Class models of bees, with their probabilities for subject and baseline, and of two steady classes."""
    probabilities = {0: bees, 1: STEADY, 2: STEADY}
    return {
        target: [draw(target, first + seed, own, judged) for seed, (own, judged) in enumerate(series)]
        for target, series in probabilities.items()
    }


def compare(classifier: Classifier, bees: Sequence[tuple[float, float]]) -> ClassRow:
    """The measurements of the class bee."""
    sides = [
        Side(Release(name="m", release=release, architecture="builtin:shapes", classes=CLASSES), classifier, series, {})
        for release, series in (("2", draw_series(bees)), ("1", draw_series(STEADY, 10)))
    ]
    *_, rows = compare_classes(*sides, draw_series(STEADY, 20), {}, probes={})
    return rows[0]


def test_class_models_that_the_baseline_does_not_recognize_are_found(classifier: Classifier) -> None:
    row = compare(classifier, [(0.97, 0.02), (0.99, 0.05), (0.98, 0.01)])
    assert row.changes["recognition"].value > 0.9
    assert row.changes["recognition"].low > row.noise["recognition"]


def test_class_models_that_have_not_converged_are_ignored_by_recognition(classifier: Classifier) -> None:
    row = compare(classifier, [(0.99, 0.98), (0.97, 0.96), (0.47, 0.02), (0.83, 0.06)])
    assert row.figures["subject_arrived"] == 2
    assert row.changes["recognition"].value < 0.05
    alone = compare(classifier, [(0.99, 0.98), (0.47, 0.02), (0.83, 0.06)])
    assert "recognition" not in alone.changes


def test_one_class_model_is_one_sample_and_gives_no_interval(classifier: Classifier) -> None:
    row = compare(classifier, STEADY[:1])
    assert row.figures["features_distance"] > 0
    assert row.changes == {}
