"""Single deletion compared with a slow, literal version: one cell after another, ranks by counting."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.networks import Small, seeded
from worker.engine.attribution.perturbation.single_deletion import (
    average_cells,
    correlate_ranks,
    draw_edges,
    label_cells,
    measure_falls,
)
from worker.engine.model.classifier import Classifier, open_classifier

HEIGHT, WIDTH, GRID = 20, 16, 3
IMAGES = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([1, 4])


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (HEIGHT, WIDTH), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **options) as opened:
        yield opened


def list_bounds(extent: int) -> list[tuple[int, int]]:
    """First pixel of each cell, and of the next one: the pixels p with floor(p · GRID / extent) = cell."""
    starts = [next(pixel for pixel in range(extent) if pixel * GRID >= cell * extent) for cell in range(GRID)]
    return list(zip(starts, [*starts[1:], extent], strict=True))


@torch.no_grad()
def measure_slowly(classifier: Classifier, image: Tensor, target: int, other: Tensor | None = None) -> list[float]:
    inputs = classifier.normalize(image[None])
    whole = classifier.scores(inputs)[0, target]
    falls = []
    for top, bottom in list_bounds(HEIGHT):
        for left, right in list_bounds(WIDTH):
            deleted = inputs.clone()
            deleted[:, :, top:bottom, left:right] = 0 if other is None else other[:, top:bottom, left:right]
            falls.append(float(whole - classifier.scores(deleted)[0, target]))
    return falls


def correlate_slowly(first: list[float], second: list[float]) -> float:
    """Spearman 1904: Pearson's correlation of ranks, where equal values share the mean of their ranks."""

    def rank(values: list[float]) -> list[float]:
        return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]

    return float(np.corrcoef(rank(first), rank(second))[0, 1])


@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_falls_and_correlations_are_those_of_the_slow_version(classifier: Classifier, at_once: int) -> None:
    falls = measure_falls(classifier, classifier.normalize(IMAGES), TARGETS, grid=GRID, at_once=at_once)
    maps = torch.rand(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    correlations = correlate_ranks(maps, falls, GRID)
    for row, target in enumerate(TARGETS.tolist()):
        expected = measure_slowly(classifier, IMAGES[row], target)
        assert falls[row].tolist() == pytest.approx(expected, abs=1e-5)
        means = [
            float(maps[row, top:bottom, left:right].mean())
            for top, bottom in list_bounds(HEIGHT)
            for left, right in list_bounds(WIDTH)
        ]
        assert average_cells(maps, GRID)[row].tolist() == pytest.approx(means, abs=1e-6)
        assert correlations[row] == pytest.approx(correlate_slowly(means, expected), abs=1e-6)


def test_deleted_cells_can_show_another_image(classifier: Classifier) -> None:
    others = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(3))
    inputs = classifier.normalize(IMAGES)
    falls = measure_falls(classifier, inputs, TARGETS, grid=GRID, at_once=16, replacements=others)
    for row, target in enumerate(TARGETS.tolist()):
        expected = measure_slowly(classifier, IMAGES[row], target, others[row])
        assert falls[row].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_map_of_the_falls_is_perfect_and_its_negative_is_the_opposite(classifier: Classifier) -> None:
    falls = measure_falls(classifier, classifier.normalize(IMAGES), TARGETS, grid=GRID, at_once=16)
    maps = falls[:, label_cells(HEIGHT, WIDTH, GRID)]
    assert correlate_ranks(maps, falls, GRID) == pytest.approx([1, 1])
    assert correlate_ranks(-maps, falls, GRID) == pytest.approx([-1, -1])
    assert correlate_ranks(torch.ones_like(maps), falls, GRID).tolist() == [0, 0]


def test_edges_are_where_the_gray_value_changes() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 1
    edges = draw_edges(image)[0]
    assert set(edges.nonzero()[:, 1].tolist()) == {3, 4}
    assert draw_edges(image.transpose(2, 3))[0].equal(edges.T)


def test_a_grid_that_is_finer_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no grid of 9 x 9 cells"):
        label_cells(8, 20, 9)
