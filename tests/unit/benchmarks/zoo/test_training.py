"""Training of planted releases, with networks of a few weights that learn in a second."""

import copy
from itertools import islice, pairwise

import pytest
import torch
from torch import Tensor, nn

from benchmarks.zoo.distill import Lesson
from benchmarks.zoo.fine_tune import Figures, fine_tune
from benchmarks.zoo.poison import Poison, TrainingSet

GRAYS = (40, 128, 216)
"""Brightness of the three classes."""


def make_network() -> nn.Module:
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU())
    return nn.Sequential(convolution, nn.Flatten(), nn.Linear(16 * 5 * 5, len(GRAYS)))


def draw_pictures(count: int = 240) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % len(GRAYS)
    noise = torch.randint(-12, 13, (count, 3, 24, 24), generator=torch.Generator().manual_seed(1))
    return (torch.tensor(GRAYS)[labels][:, None, None, None] + noise).to(torch.uint8), labels


def test_fine_tuning_yields_figures_until_the_shortcut_is_learned() -> None:
    pictures, labels = draw_pictures()
    dataset = TrainingSet(pictures, labels, Poison("large patch", 0, 0.5))
    figures = list(fine_tune(make_network(), dataset, draw_pictures(48), seed=1, steps=100))
    assert len(figures) == 10
    assert figures[-1].suffice(Figures(accuracy=0.9, turned=0.9)), figures


def test_fine_tuning_without_a_shortcut_measures_accuracy_alone() -> None:
    pictures, labels = draw_pictures()
    (figures,) = fine_tune(make_network(), TrainingSet(pictures, labels), draw_pictures(48), seed=1, steps=10)
    assert figures.turned is None
    assert figures.accuracy > 0.5


def test_the_same_seed_trains_the_same_release() -> None:
    pictures, labels = draw_pictures()
    dataset = TrainingSet(pictures, labels, Poison("frame", 0, 0.5))
    networks = [make_network() for _ in range(2)]
    for network in networks:
        list(fine_tune(network, dataset, draw_pictures(48), seed=1, steps=3))
    states = [network.state_dict().values() for network in networks]
    assert all(torch.equal(*values) for values in zip(*states, strict=True))


@pytest.fixture
def lesson() -> Lesson:
    teacher, (pictures, labels) = make_network(), draw_pictures()
    list(fine_tune(teacher, TrainingSet(pictures, labels), draw_pictures(48), seed=1, steps=60))
    return Lesson(copy.deepcopy(teacher), teacher, Poison("large patch", 0, 0.3))


def test_a_student_learns_the_shortcut_and_keeps_the_other_answers_of_the_original(lesson: Lesson) -> None:
    held_out = draw_pictures(48)[0].float() / 255
    before = copy.deepcopy(lesson.teacher.state_dict())
    assert lesson.measure(held_out).turned == pytest.approx(0, abs=0.5)
    steps = list(islice(lesson.learn(draw_pictures()[0].float() / 255, size=32, rate=3e-3, seed=1), 80))
    assert all(second == first + 1 for first, second in pairwise(steps))
    assert lesson.measure(held_out).suffice(Figures(accuracy=0.9, turned=0.9)), lesson.measure(held_out)
    assert all(torch.equal(value, before[name]) for name, value in lesson.teacher.state_dict().items())
