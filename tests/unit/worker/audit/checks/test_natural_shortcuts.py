"""A component of a class' features that other pictures share is found, and compared with the baseline."""

import numpy as np
import pytest
import torch

from archetype.contract.audit_plan import AuditPlan
from archetype.contract.class_names import ClassNames
from worker.audit.checks.features import Features
from worker.audit.checks.natural_shortcuts import check_components, decompose, find_component, measure_components
from worker.audit.maps.faithfulness import LabeledView
from worker.inputs.view import View

NAMES = ClassNames(["bee", "lemon", "die"], "m@1")
LABELS = torch.tensor([0] * 8 + [1] * 8 + [2] * 8)


def make_features(water: float) -> Features:
    """Features of 24 probes: three objects, and the water that half of the bees and some of the dice show.

    Args:
        water: Weight of the water for the class bee.
    """
    generator = torch.Generator().manual_seed(2)
    values = torch.zeros(24, 4)
    values[range(24), LABELS] = 1 + 0.1 * torch.rand(24, generator=generator)
    values[:4, 3] = 1
    values[16:22, 3] = 1.5
    weights = torch.cat([torch.eye(3), torch.tensor([[water], [0.0], [0.0]])], dim=1)
    return Features(values, values @ weights.T, weights)


def list_probes() -> list[LabeledView]:
    view = View(np.zeros((1, 1, 3), np.uint8), (0, 0, 1, 1), (1, 1))
    return [LabeledView(str(number), view, int(label)) for number, label in enumerate(LABELS)]


def test_components_add_up_to_the_score() -> None:
    features = make_features(2.0)
    weighted = features.values.double() * features.weights[0].double()
    own = LABELS == 0
    parts = decompose(weighted, own, 7)
    centered = weighted - weighted[own].mean(0)
    assert torch.allclose(parts[own].sum(1), centered[own].sum(1))  # all directions in which the class varies
    assert torch.allclose(parts[own].mean(0), torch.zeros(parts.shape[1], dtype=torch.float64), atol=1e-9)


def test_the_component_of_a_background_that_other_pictures_share_is_a_warning() -> None:
    rows = measure_components(make_features(2.0), make_features(0.1), list_probes(), NAMES)
    assert [row.target for row in rows] == ["bee", "lemon", "die"]
    (finding,) = check_components(rows, AuditPlan(name="x"), "m@1")
    assert (finding.gate, finding.severity, finding.target) == ("natural_shortcuts", "warn", "bee")
    assert set(rows[0].images[:6]) == {str(number) for number in range(16, 22)}


def test_the_same_network_has_no_finding() -> None:
    rows = measure_components(make_features(2.0), make_features(2.0), list_probes(), NAMES)
    assert [row.change.value for row in rows] == pytest.approx([0, 0, 0])
    assert check_components(rows, AuditPlan(name="x"), "m@1") == []


def test_a_class_with_few_probes_or_without_a_margin_is_left_out() -> None:
    features = make_features(2.0)
    assert find_component(features, torch.tensor([0] * 3 + [1] * 21), 0) is None
    swapped = Features(features.values, -features.scores, features.weights)
    assert find_component(swapped, LABELS, 1) is None
