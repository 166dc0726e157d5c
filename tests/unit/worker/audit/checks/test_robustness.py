"""Robustness: the fall of the accuracy on corrupted probes, beyond that on the probes as they are."""

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archetype.contract.audit_plan import AuditPlan
from tests.support.generators import finish
from worker.audit.checks.corruptions import CORRUPTIONS
from worker.audit.checks.robustness import check_robustness, measure_robustness
from worker.audit.maps.faithfulness import LabeledView
from worker.engine.model.classifier import Classifier, open_classifier
from worker.inputs.view import View

SIDE = 16


class Threshold(nn.Module):
    """Predicts class 1 for an image whose mean is above a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def forward(self, x: Tensor) -> Tensor:
        excess = x.mean((1, 2, 3)) - self.threshold
        return torch.stack([-excess, excess], dim=1)


@pytest.fixture
def networks() -> Iterator[tuple[Classifier, Classifier]]:
    """Subject and baseline; half the brightness turns bright images dark for the subject alone."""
    options = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": (SIDE, SIDE), "device": torch.device("cpu")}
    with ExitStack() as opened:
        subject, baseline = (
            opened.enter_context(open_classifier(Threshold(threshold), **options)) for threshold in (0.5, 0.3)
        )
        yield subject, baseline


def draw(level: int, target: int, number: int) -> LabeledView:
    levels = np.full((SIDE, SIDE, 3), level, np.uint8)
    return LabeledView(f"{number:064x}", View(levels, (0, 0, SIDE, SIDE), (SIDE, SIDE)), target)


def test_a_subject_that_fails_on_dark_probes_is_found_by_this_corruption_alone(
    networks: tuple[Classifier, Classifier],
) -> None:
    probes = [draw(200, 1, number) for number in range(10)] + [draw(20, 0, number) for number in range(10, 20)]
    rows = finish(measure_robustness(*networks, probes))
    assert [row.corruption for row in rows] == list(CORRUPTIONS)
    falls = {row.corruption: row.change.value for row in rows if row.change is not None}
    assert falls == pytest.approx({name: 0.5 if name == "less brightness" else 0 for name in CORRUPTIONS})
    (finding,) = check_robustness(rows, AuditPlan(name="x"), "m@1")
    assert (finding.gate, finding.severity) == ("robustness", "warn")
    assert "less brightness costs the subject 50.0 percentage points" in finding.reason


def test_a_fall_that_the_plain_probes_show_too_is_not_counted_again(networks: tuple[Classifier, Classifier]) -> None:
    probes = [draw(100, 1, number) for number in range(10)]  # 0.39: the subject is wrong with and without noise
    rows = finish(measure_robustness(*networks, probes))
    changes = {row.corruption: row.change.value for row in rows if row.change is not None}
    assert (changes["blur"], changes["noise"]) == (0, 0)
    assert changes["less brightness"] == -1  # both are wrong


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_corruption_keeps_the_shape_and_depends_on_its_seed_alone(name: str, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 20, channels), dtype=np.uint8)
    before = image.copy()
    first, second = CORRUPTIONS[name](image, 7), CORRUPTIONS[name](image, 7)
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(image, before)
    assert not np.array_equal(first, image)


def test_too_few_probes_measure_nothing(networks: tuple[Classifier, Classifier]) -> None:
    assert finish(measure_robustness(*networks, [draw(0, 0, number) for number in range(4)])) == []
