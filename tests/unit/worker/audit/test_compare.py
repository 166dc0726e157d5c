"""Measurements of a class from the class models of two releases."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from shared.catalogue.release import Release
from tests.support.networks import Small, seeded
from worker.audit.compare import ClassRow, Side, compare_classes, have_same_weights
from worker.audit.sides import explain_no_models
from worker.audit.triggers.known import identify
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


def make_side(classifier: Classifier, number: str, architecture: str, models: Series | None = None) -> Side:
    release = Release(name="m", release=number, architecture=architecture, classes=CLASSES)
    return Side(release, classifier, models or {}, {})


@pytest.mark.parametrize(
    ("architecture", "same"),
    [("builtin:shapes", True), ("program", False), ("huggingface", False), ("onnx", False)],
)
def test_equal_weights_are_the_same_network_only_if_the_file_is_no_code(
    classifier: Classifier, architecture: str, same: bool
) -> None:
    subject, baseline = (make_side(classifier, number, architecture) for number in "21")
    assert have_same_weights(subject, baseline) is same
    assert have_same_weights(subject, subject)
    stored = [identify(side, [("a", 0)], "effort") for side in (subject, baseline)]
    assert (stored[0] == stored[1]) is same


def test_a_release_without_class_models_is_named_whichever_side_it_is() -> None:
    """A subject with gradients has class models if it is compared with another baseline, too."""

    class Detached(Small):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).detach()

    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIZE, SIZE), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **options) as usual, open_classifier(seeded(Detached), **options) as box:
        subject = make_side(usual, "2", "onnx", draw_series(STEADY))
        reason = explain_no_models(subject, make_side(box, "1", "onnx"))
        assert reason == "class visualizations need gradients, and m@1 gives none"
        both = explain_no_models(make_side(box, "2", "onnx"), make_side(box, "1", "onnx"))
        assert both == "class visualizations need gradients, and m@2 and m@1 give none"
        assert explain_no_models(subject, subject) is None
