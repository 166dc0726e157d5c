"""Groups of probes that one network places together and the other does not are found, and described by class."""

import math

import pytest
import torch
from torch import Tensor

from archetype.contract.class_names import ClassNames
from worker.audit.checks.neighborhoods import (
    MAX_GROUPS,
    MAX_IMAGES,
    SMALL,
    STEEPNESS,
    Group,
    compare_distances,
    describe_groups,
    find_groups,
    measure_distances,
)
from worker.audit.maps.faithfulness import LabeledView
from worker.inputs.view import View

CLASSES = ["bee", "lemon", "die"]


def cluster(centers: list[int], *, seed: int = 0) -> Tensor:
    """Features (N, 8) near the center with the given number."""
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(8)[centers] + 0.05 * torch.randn(len(centers), 8, generator=generator)


def measure_slowly(features: Tensor) -> list[list[float]]:
    """Distances of the unit vectors, pair by pair, divided by the median."""
    units = [row / row.norm() for row in features.double()]
    distances = [[float((first - second).norm()) for second in units] for first in units]
    pairs = sorted(distances[row][column] for row in range(len(units)) for column in range(row))
    return [[distance / pairs[(len(pairs) - 1) // 2] for distance in row] for row in distances]


def test_distances_and_differences_are_those_of_a_slow_version() -> None:
    before, after = cluster([0, 0, 1, 1, 2, 2, 3], seed=1), cluster([0, 1, 0, 1, 2, 3, 2], seed=2)
    slow_near, slow_far = measure_slowly(after), measure_slowly(before)
    difference = compare_distances(measure_distances(after), measure_distances(before))
    for row in range(7):
        for column in range(7):
            near, far = slow_near[row][column], slow_far[row][column]
            expected = max(0.0, math.tanh(STEEPNESS * (far - near) / (min(near, far) + SMALL)))
            assert float(difference[row, column]) == pytest.approx(0 if row == column else expected, abs=1e-6)


def test_classes_that_the_subject_merges_are_one_group() -> None:
    before = cluster([0] * 6 + [1] * 6 + [2] * 12 + [3] * 12)
    after = cluster([0] * 12 + [2] * 12 + [3] * 12, seed=4)
    strongest, *_ = find_groups(before, after)
    assert strongest.kind == "confused"
    assert set(strongest.members) <= set(range(12))
    assert {member < 6 for member in strongest.members} == {True, False}


def test_a_class_that_the_subject_splits_is_one_group() -> None:
    before = cluster([0] * 12 + [2] * 12 + [3] * 12)
    after = cluster([0, 1] * 6 + [2] * 12 + [3] * 12, seed=4)
    strongest, *_ = find_groups(before, after)
    assert strongest.kind == "separated"
    assert set(strongest.members) <= set(range(12))


def test_the_same_features_have_no_groups_and_neither_has_another_position_in_a_cluster() -> None:
    centers = [number % 8 for number in range(80)]
    assert find_groups(cluster(centers), cluster(centers)) == []
    assert find_groups(cluster(centers), cluster(centers, seed=9)) == []


def test_there_are_never_more_than_three_groups_of_nine() -> None:
    centers = [number % 8 for number in range(80)]
    groups = find_groups(cluster(centers), cluster([center // 2 for center in centers], seed=9))
    assert len(groups) == MAX_GROUPS
    assert all(len(set(group.members)) == len(group.members) <= MAX_IMAGES for group in groups)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_few_probes_have_no_groups(count: int) -> None:
    assert find_groups(torch.randn(count, 4), torch.randn(count, 4)) == []


def test_a_group_is_described_by_its_classes() -> None:
    view = View(torch.zeros(1, 1, 3, dtype=torch.uint8).numpy(), (0, 0, 1, 1), (1, 1))
    probes = [LabeledView(f"{number}", view, number % 2) for number in range(6)]
    (described,) = describe_groups([Group("confused", (4, 0, 2, 1), 0.9)], probes, ClassNames(CLASSES, "m@1"))
    assert described.images == ["4", "0", "2", "1"]
    assert described.classes == {"bee": 3, "lemon": 1}
    assert (
        "subject places these 4 probes together, the baseline does not: 3 of bee, 1 of lemon" in described.description
    )
