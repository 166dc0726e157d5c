"""Measured sizes and rates, carriers, and crops."""

import pytest
import torch

from tests.support.marked import CLASSES, PLANTED, SIDE, make_carriers
from worker.engine.model.classifier import open_classifier
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.crops import Crop, cut_crops, find_crops
from worker.engine.triggers.families.frame import Frame
from worker.engine.triggers.measure import Count, count_turned, measure
from worker.engine.triggers.search import Search, Slot

SHAPE = (3, SIDE, SIDE)


class Edge(torch.nn.Module):
    """Class 1 if the third pixel from the left edge is dark, else class 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dark = (x[:, :, SIDE // 2, 2].mean(1) < -1.9).float()
        return torch.stack([1 - dark, dark, 0 * dark], 1)


def open_edge() -> object:
    return open_classifier(Edge(), mean=[0.5] * 3, std=[0.25] * 3, size=(SIDE, SIDE), device=torch.device("cpu"))


def test_the_size_is_the_smallest_that_turns_enough_carriers() -> None:
    wide = torch.tensor([0.0, -20.0, -20.0, -20.0])
    settings = Search(Frame(SHAPE), 1, 1)
    with open_edge() as classifier:
        trigger = measure(classifier, settings, Slot(1, 0), wide, make_carriers().split())
    assert trigger.reached
    assert 2.9 < trigger.size < 3.3  # three pixels, found within 6 %
    assert trigger.search.share == 1
    assert trigger.held_out == Count(trigger.held_out.of, trigger.held_out.of)
    assert trigger.before.turned == 0


def test_a_trigger_that_never_turns_enough_carriers_is_not_reached() -> None:
    white = torch.tensor([0.0, 20.0, 20.0, 20.0])
    with open_edge() as classifier:
        trigger = measure(classifier, Search(Frame(SHAPE), 1, 1), Slot(1, 0), white, make_carriers().split())
    assert not trigger.reached
    assert trigger.size == pytest.approx(SIDE / 2, rel=1e-3)
    assert trigger.held_out.turned == 0


def test_nothing_turns_without_carriers() -> None:
    with open_edge() as classifier:
        counted = count_turned(classifier, Frame(SHAPE), None, make_carriers().take([]), 1)
    assert counted == Count(0, 0)
    assert counted.share == 0


def test_carriers_are_split_class_by_class() -> None:
    carriers = Carriers(torch.zeros(8, 3, 2, 2), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2]))
    search, held_out = carriers.split()
    assert search.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert held_out.labels.tolist() == [0, 0]


def test_the_crop_that_shows_the_learned_mark_is_chosen_from_another_class() -> None:
    carriers = make_carriers()
    carriers.images[0, :, 12:, 12:] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]  # a picture of class 0
    carriers.images[PLANTED, :, 12:, 12:] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]  # of the class itself
    family = Crop(SHAPE)

    class Green(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            green = ((x[:, 1] - x[:, 0] - x[:, 2]).clamp_min(0)).mean((1, 2))
            return torch.nn.functional.one_hot(torch.tensor(PLANTED), CLASSES) * green[:, None]

    with open_classifier(
        Green(), mean=[0.5] * 3, std=[0.25] * 3, size=(SIDE, SIDE), device=torch.device("cpu")
    ) as classifier:
        (found,) = find_crops(classifier, family, [PLANTED], carriers)
    crops = cut_crops(carriers)
    assert crops.images.shape == (5 * 24, 3, 32, 32)
    distances = (crops.images - family.picture(found[None])).abs().flatten(1).mean(1)
    assert int(crops.labels[distances.argmin()]) == 0
    assert int(distances.argmin()) == 3 * 24  # the lower right corner of the first picture


@pytest.mark.parametrize("count", [60, 600])
def test_many_carriers_give_a_limited_number_of_crops(count: int) -> None:
    assert len(cut_crops(make_carriers(count))) <= 240 * 1.01 + 1
