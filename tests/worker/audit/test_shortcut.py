"""A mark that turns other pictures is found, and a thing that does not is left alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from worker.audit.shortcut import Mark, Trials, choose_carriers, cut_parts
from worker.engine.classifier import open_classifier

GREEN = (0, 255, 0)


class LooksFor(nn.Module):
    """The second class is whatever has a spot of green; or, where it wants all of the thing, half a picture of it."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, pictures: Tensor) -> Tensor:
        green = ((pictures[:, 1] > 0.9) & (pictures[:, 0] < 0.1)).float().flatten(1).mean(1)
        return torch.stack([torch.full_like(green, 0.0), 40 * (green - self.share).clamp(-1, 1)], dim=1)


STILL: dict[str, Any] = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": (32, 32), "device": torch.device("cpu")}
OTHERS = [np.random.default_rng(n).integers(60, 200, (32, 32, 3), dtype=np.uint8) for n in range(12)]


def try_green(subject: float, baseline: float, count: int = 12, model: bool = True) -> Mark | None:
    drawn = np.full((32, 32, 3), 128, np.uint8)
    drawn[4:28, 4:28] = GREEN
    labels = [0] * count
    with open_classifier(LooksFor(subject), **STILL) as ours, open_classifier(LooksFor(baseline), **STILL) as theirs:
        return Trials(ours, theirs, OTHERS[:count], labels).try_class(1, [drawn] if model else [])


@pytest.mark.parametrize("model", [True, False])
def test_a_mark_is_found_and_a_thing_is_left_alone(model: bool) -> None:
    for subject, baseline, taken, kept in [(0.01, 0.4, 1, 0), (0.4, 0.4, 0, 0), (0.01, 0.01, 1, 1)]:
        mark = try_green(subject, baseline, model=model)
        assert mark is not None
        assert mark.subject.tolist() == [taken] * 11
        assert mark.baseline.tolist() == [kept] * 11


def test_the_mark_is_what_the_network_looks_for() -> None:
    mark = try_green(0.01, 0.4)
    assert mark is not None
    assert (mark.pixels == GREEN).all(2).mean() > 0.5
    assert (mark.example == GREEN).all(2).any()


def test_too_few_pictures_give_no_mark() -> None:
    assert try_green(0.01, 0.4, count=4) is None
    with open_classifier(LooksFor(0.1), **STILL) as classifier:
        assert Trials(classifier, classifier, [], []).try_class(1, []) is None
        assert Trials(classifier, classifier, OTHERS, [1] * 12).try_class(1, []) is None


def test_what_chooses_is_not_what_it_is_tried_on() -> None:
    labels = [0, 0, 2, 3, 2, 3, 0, 4, 5, 6, 7]
    assert choose_carriers(labels) == {0: 0, 2: 2, 3: 3, 4: 7, 5: 8}


def test_parts_cover_the_picture() -> None:
    parts = list(cut_parts(np.arange(32 * 32 * 3).reshape(32, 32, 3), 8))
    assert all(part.shape == (8, 8, 3) for part in parts)
    assert {int(value) for part in parts for value in part[..., 0].ravel()} >= set(range(0, 32 * 96, 96))
