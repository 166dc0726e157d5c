"""A mark that changes predictions is found, and an object that does not is no shortcut."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from worker.audit.common_marks import WORDS
from worker.audit.shortcut import SMALL, Mark, MarkSearch, choose_carriers, cut_parts, split_halves
from worker.engine.model.classifier import open_classifier

GREEN = (0, 255, 0)


class GreenDetector(nn.Module):
    """Predicts the second class if the fraction of green pixels exceeds `fraction`."""

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction

    def forward(self, images: Tensor) -> Tensor:
        green = ((images[:, 1] > 0.9) & (images[:, 0] < 0.1)).float().flatten(1).mean(1)
        return torch.stack([torch.full_like(green, 0.0), 40 * (green - self.fraction).clamp(-1, 1)], dim=1)


OPTIONS: dict[str, Any] = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": (32, 32), "device": torch.device("cpu")}
OTHERS = [np.random.default_rng(n).integers(60, 200, (32, 32, 3), dtype=np.uint8) for n in range(12)]


def try_green(subject: float, baseline: float, count: int = 12, model: bool = True) -> Mark | None:
    drawn = np.full((32, 32, 3), 128, np.uint8)
    drawn[4:28, 4:28] = GREEN
    labels = [0] * count
    with (
        open_classifier(GreenDetector(subject), **OPTIONS) as first,
        open_classifier(GreenDetector(baseline), **OPTIONS) as second,
    ):
        return MarkSearch(first, second, OTHERS[:count], labels).find_mark(1, [drawn] if model else [])


@pytest.mark.parametrize("model", [True, False])
def test_a_mark_is_a_shortcut_and_an_object_is_not(model: bool) -> None:
    for subject, baseline, taken, kept in [(0.01, 0.4, 1, 0), (0.4, 0.4, 0, 0), (0.01, 0.01, 1, 1)]:
        mark = try_green(subject, baseline, model=model)
        assert mark is not None
        assert mark.subject.tolist() == [taken] * 11
        assert mark.baseline.tolist() == [kept] * 11


def test_the_mark_has_the_color_that_the_network_detects() -> None:
    mark = try_green(0.01, 0.4)
    assert mark is not None
    assert (mark.pixels == GREEN).all(2).mean() > 0.5
    assert (mark.example == GREEN).all(2).any()


def test_too_few_images_give_no_mark() -> None:
    assert try_green(0.01, 0.4, count=4) is None
    with open_classifier(GreenDetector(0.1), **OPTIONS) as classifier:
        assert MarkSearch(classifier, classifier, [], []).find_mark(1, []) is None
        assert MarkSearch(classifier, classifier, OTHERS, [1] * 12).find_mark(1, []) is None


def test_carriers_are_the_first_images_of_five_classes() -> None:
    labels = [0, 0, 2, 3, 2, 3, 0, 4, 5, 6, 7]
    assert choose_carriers(labels) == {0: 0, 2: 2, 3: 3, 4: 7, 5: 8}


def test_parts_cover_the_image() -> None:
    parts = list(cut_parts(np.arange(32 * 32 * 3).reshape(32, 32, 3), 8))
    assert all(part.shape == (8, 8, 3) for part in parts)
    assert {int(value) for part in parts for value in part[..., 0].ravel()} >= set(range(0, 32 * 96, 96))


class WordDetector(nn.Module):
    """Predicts the second class if the middle rows, which no mark in a corner reaches, are brighter than a level."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, images: Tensor) -> Tensor:
        middle = images[:, :, 13:19].flatten(1).mean(1)
        return torch.stack([torch.full_like(middle, 0.0), 40 * (middle - self.level)], dim=1)


def find_common(subject: nn.Module, baseline: nn.Module, labels: list[int]) -> Mark | None:
    images = [np.random.default_rng(n).integers(60, 130, (32, 32, 3), dtype=np.uint8) for n in range(len(labels))]
    with open_classifier(subject, **OPTIONS) as first, open_classifier(baseline, **OPTIONS) as second:
        return MarkSearch(first, second, images, labels).find_mark(1, [])


def test_a_network_that_has_learned_a_word_reacts_to_another() -> None:
    mark = find_common(WordDetector(0.45), WordDetector(0.9), [0] * 24)
    assert mark is not None
    assert mark.name in (f"the white word {word} across the middle" for word in WORDS)
    assert mark.subject.tolist() == [1.0] * 11  # one half; the other half chose the mark
    assert mark.baseline.tolist() == [0.0] * 11
    assert mark.effect == 1
    assert mark.pixels.shape == mark.example.shape == (32, 32, 3)


def test_a_mark_that_turns_the_images_of_both_networks_is_no_finding() -> None:
    mark = find_common(WordDetector(0.45), WordDetector(0.45), [0] * 24)
    assert mark is not None
    assert mark.effect == 0


def test_the_mark_with_the_larger_effect_is_found() -> None:
    """A small green square turns all images here, and common marks none."""
    mark = find_common(GreenDetector(0.01), GreenDetector(0.4), [0] * 24)
    assert mark is not None
    assert (mark.name, mark.effect) == (SMALL, 1)


@pytest.mark.parametrize(
    "labels",
    [[0, 1] * 12, [0] * 12 + [1] * 12, [1] * 12 + [0] * 12, [1] * 60 + [0] * 60, [2, 0, 1] * 8, [0] * 12 + [1, 2, 3]],
    ids=["alternating", "sorted", "the class first", "many", "three classes", "classes of one image"],
)
def test_marks_are_tried_in_whatever_order_the_images_are(labels: list[int]) -> None:
    mark = find_common(WordDetector(0.45), WordDetector(0.9), labels)
    assert mark is not None
    assert mark.name != SMALL
    assert mark.effect == 1
    assert 4 <= len(mark.subject) <= 24


def test_too_few_images_of_other_classes_try_no_common_mark() -> None:
    mark = find_common(WordDetector(0.45), WordDetector(0.9), [0] * 6 + [1] * 16)
    assert mark is None or mark.name == SMALL


def test_halves_have_all_classes_alike() -> None:
    images = [np.full((1, 1, 3), number, np.uint8) for number in range(11)]
    labels = [0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4]
    first, second = split_halves(list(zip(labels, images, strict=True)))
    assert [label for label, _ in first] == [0, 2, 4, 1, 0, 1]
    assert [label for label, _ in second] == [1, 3, 0, 1, 0]
    assert sorted(int(image[0, 0, 0]) for _, image in first + second) == list(range(11))


def test_a_mark_on_few_images_must_have_a_larger_effect() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    many = Mark(SMALL, pixels, np.array([0.6] * 40), np.zeros(40), pixels)
    few = Mark("a word", pixels, np.array([1.0, 1.0, 1.0, 0.0]), np.zeros(4), pixels)
    assert few.effect > many.effect
    assert few.least_effect < many.least_effect


class Weak(nn.Module):
    """Predicts the second class if the middle is bright and the first pixel is one of the darkest fifth or so."""

    def forward(self, images: Tensor) -> Tensor:
        middle = images[:, :, 13:19].flatten(1).mean(1) > 0.45
        turned = (middle & (images[:, 0, 0, 0] < 0.3)).float()
        return torch.stack([0.5 - turned, turned - 0.5], dim=1)


def test_a_common_mark_that_turns_few_images_is_chance() -> None:
    images = [np.random.default_rng(n).integers(60, 130, (32, 32, 3), dtype=np.uint8) for n in range(48)]
    for number, image in enumerate(images):
        image[0, 0] = 65 if number // 2 % 5 == 0 else 120
    with open_classifier(Weak(), **OPTIONS) as subject, open_classifier(WordDetector(0.9), **OPTIONS) as baseline:
        mark = MarkSearch(subject, baseline, images, [0] * 48).find_mark(1, [])
    assert mark is not None
    assert mark.name == SMALL
