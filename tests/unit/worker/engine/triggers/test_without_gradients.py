"""The search without gradients: its candidates, its choice, and its limits."""

import pytest
import torch
from torch import Tensor

from tests.support.marked import CLASSES, PLANTED, SIDE, Marked, make_labeled
from worker.engine.model.classifier import open_classifier
from worker.engine.triggers import without_gradients
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.find import FAMILIES, WITHOUT_GRADIENTS
from worker.engine.triggers.measure import count_turned
from worker.engine.triggers.search import Slot
from worker.engine.triggers.without_gradients import Enumerable, find_without_gradients

TRIED = [name for name in WITHOUT_GRADIENTS if name != "crop"]


def test_every_family_that_is_searched_without_gradients_has_candidates_or_crops() -> None:
    enumerable = {name for name, family in FAMILIES.items() if isinstance(family((3, SIDE, SIDE)), Enumerable)}
    assert {*enumerable, "crop"} == {*WITHOUT_GRADIENTS}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", TRIED)
def test_candidates_differ_and_leave_images_in_range(name: str, channels: int) -> None:
    family = FAMILIES[name]((channels, SIDE, SIDE))
    assert isinstance(family, Enumerable)
    candidates = family.candidates()
    assert candidates.shape == (len(candidates), family.start([1]).shape[1])
    assert len(candidates.unique(dim=0)) == len(candidates) > 3
    images = torch.rand(len(candidates), 1, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    changed = family.apply(candidates, images, torch.full((len(candidates), 1, 3), 0.5))
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - images).abs().flatten(1).amax(1).min() > 0


def search(name: str, slots: list[Slot], steps: int, carriers: Carriers | None = None) -> list[Tensor]:
    family = FAMILIES[name]((3, SIDE, SIDE))
    assert isinstance(family, Enumerable)
    with open_classifier(
        Marked(), mean=[0.5] * 3, std=[0.25] * 3, size=(SIDE, SIDE), device=torch.device("cpu")
    ) as classifier:
        return list(find_without_gradients(classifier, family, slots, carriers or make_labeled(), steps=steps))


def share(name: str, parameters: Tensor, target: int) -> float:
    carriers = make_labeled()
    others = carriers.take(carriers.others(target).tolist())
    family = FAMILIES[name]((3, SIDE, SIDE))
    with open_classifier(
        Marked(), mean=[0.5] * 3, std=[0.25] * 3, size=(SIDE, SIDE), device=torch.device("cpu")
    ) as classifier:
        return count_turned(classifier, family, parameters, others, target).share


def test_a_planted_frame_is_found_small_and_works_better_with_more_steps() -> None:
    """The corner of a green frame is the planted mark."""
    family = FAMILIES["frame"]((3, SIDE, SIDE))
    (first,) = search("frame", [Slot(PLANTED, 1)], 0)
    (better,) = search("frame", [Slot(PLANTED, 1)], 200)
    assert share("frame", better, PLANTED) > max(0.85, share("frame", first, PLANTED))
    assert float(family.size(better[None])) < SIDE / 20


def test_the_same_slot_gives_the_same_trigger_in_any_company() -> None:
    (alone,) = search("color", [Slot(1, 3)], 40)
    several = search("color", [Slot(0, 3), Slot(1, 3)], 40)
    torch.testing.assert_close(several[1], alone)


def test_a_large_round_changes_no_more_images_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_gradients, "PASSES", CLASSES)
    slots = [Slot(target, 1) for target in range(CLASSES)]
    for found, first in zip(search("frame", slots, 400), search("frame", slots, 0), strict=True):
        assert torch.equal(found, first)


def test_images_of_one_class_are_enough() -> None:
    labeled = make_labeled()
    label = int(labeled.labels[0])
    alone = labeled.take([row for row, each in enumerate(labeled.labels.tolist()) if each == label])
    assert all(parameters.isfinite().all() for parameters in search("patch", [Slot(label, 1)], 20, alone))
