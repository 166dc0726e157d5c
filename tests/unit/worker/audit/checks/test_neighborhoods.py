"""Groups of probes that one network places together and the other does not are found, and described by class."""

import pytest
import torch
from torch import Tensor

from archetype.contract.class_names import ClassNames
from worker.audit.checks.neighborhoods import (
    MAX_IMAGES,
    STEEPNESS,
    Group,
    compare_ranks,
    describe_groups,
    find_groups,
    rank_distances,
)
from worker.audit.maps.faithfulness import LabeledView
from worker.inputs.view import View

CLASSES = ["bee", "lemon", "die"]


def cluster(centers: list[int], *, seed: int = 0) -> Tensor:
    """Features (N, 8) near the center with the given number."""
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(8)[centers] + 0.05 * torch.randn(len(centers), 8, generator=generator)


def measure_slowly(features: Tensor) -> list[list[float]]:
    """Mean of the places that two images have when each sorts the others by the angle between the features."""
    count = len(features)
    places = []
    for row in range(count):
        others = [other for other in range(count) if other != row]
        others.sort(key=lambda other: -float(torch.cosine_similarity(features[row], features[other], dim=0)))
        places.append({other: place for place, other in enumerate(others, 1)} | {row: 0})
    return [[(places[row][column] + places[column][row]) / 2 for column in range(count)] for row in range(count)]


def test_ranks_and_differences_are_those_of_a_slow_version() -> None:
    before, after = cluster([0, 0, 1, 1, 2, 2, 3], seed=1), cluster([0, 1, 0, 1, 2, 3, 2], seed=2)
    near, far = rank_distances(after), rank_distances(before)
    slow_near, slow_far = measure_slowly(after), measure_slowly(before)
    assert near.tolist() == slow_near
    assert far.tolist() == slow_far
    difference = compare_ranks(near, far)
    for row in range(7):
        for column in range(7):
            smaller = max(1, min(slow_near[row][column], slow_far[row][column]))
            relative = (slow_far[row][column] - slow_near[row][column]) / smaller
            expected = max(0.0, float(torch.tensor(STEEPNESS * relative).tanh()))
            assert float(difference[row, column]) == pytest.approx(expected, abs=1e-6)


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


def test_the_same_features_have_no_groups_and_there_are_never_more_than_three() -> None:
    features = cluster([number % 8 for number in range(40)])
    assert find_groups(features, features) == []
    groups = find_groups(torch.randn(60, 8), torch.randn(60, 8))
    assert len(groups) == 3
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
