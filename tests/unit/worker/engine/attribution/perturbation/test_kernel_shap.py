"""KernelSHAP against the definition of Shapley values, and against Captum."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from tests.support.attributions import IMAGES, TARGETS, opened
from tests.support.networks import Small, seeded
from worker.engine.attribution.perturbation.kernel_shap import (
    choose_coalitions,
    kernel_shap,
    number_cells,
    solve,
    weigh_sizes,
)

SIZE = (18, 24)
FILL = 0.3


def find_shapley_values(network: torch.nn.Module, image: Tensor, target: Tensor, cells: int) -> Tensor:
    """The mean gain of each cell over all orders in which cells can be shown (Shapley 1953)."""
    places, count = number_cells(cells, *SIZE), cells * cells

    def score(shown: tuple[int, ...]) -> float:
        mask = torch.isin(places, torch.tensor(shown, dtype=torch.int64)).float()
        with torch.no_grad():
            return float(network((image * mask + FILL * (1 - mask))[None])[0, target])

    known = {shown: score(shown) for size in range(count + 1) for shown in itertools.combinations(range(count), size)}
    values = torch.zeros(count)
    for order in itertools.permutations(range(count)):
        for position, cell in enumerate(order):
            before = tuple(sorted(order[:position]))
            values[cell] += known[tuple(sorted((*before, cell)))] - known[before]
    return values / math.factorial(count)


def test_with_all_coalitions_the_values_are_shapley_values() -> None:
    network = seeded(Small).eval()
    with opened(network) as classifier:
        ours = kernel_shap(classifier, IMAGES, TARGETS, samples=14, cells=2, fill=FILL, seed=0, at_once=5)
    for row, image in enumerate(IMAGES):
        expected = find_shapley_values(network, image, TARGETS[row], 2)
        torch.testing.assert_close(ours[row], expected[number_cells(2, *SIZE)], atol=1e-5, rtol=1e-4)
    assert ours.min() < 0 < ours.max()


def test_captum_gives_the_same_shapley_values() -> None:
    attr = pytest.importorskip("captum.attr", reason="Captum is the reference")
    network = seeded(Small).eval()
    with opened(network) as classifier:
        ours = kernel_shap(classifier, IMAGES, TARGETS, samples=14, cells=2, fill=FILL, seed=0, at_once=64)
        theirs = attr.ShapleyValues(network).attribute(
            IMAGES, target=TARGETS, baselines=FILL, feature_mask=number_cells(2, *SIZE)[None, None]
        )
    assert (ours - theirs[:, 0]).abs().max() <= 1e-5


def test_sampled_values_add_up_to_the_score_and_come_near_the_exact_ones() -> None:
    with opened(seeded(Small).eval()) as classifier:
        ends = [classifier.scores(images)[torch.arange(4), TARGETS] for images in (IMAGES, torch.zeros_like(IMAGES))]

        def explain(samples: int, seed: int) -> Tensor:
            options = {"samples": samples, "cells": 3, "fill": 0.0, "seed": seed, "at_once": 64}
            return kernel_shap(classifier, IMAGES, TARGETS, **options)

        exact, sampled = explain(510, 0), explain(300, 1)
    for values in (exact, sampled):
        cells = values[:, 3::6, 4::8]  # one pixel of each cell
        torch.testing.assert_close(cells.sum((1, 2)), ends[0] - ends[1], atol=1e-4, rtol=1e-4)
    assert (sampled - exact).abs().max() < 0.15 * exact.abs().max()


def test_coalitions_are_pairs_of_complements_and_small_and_large_ones_are_frequent() -> None:
    coalitions, weights = choose_coalitions(49, 2000, 0)
    sizes = coalitions.sum(1)
    assert coalitions.shape == (2000, 49)
    assert torch.equal(coalitions[:1000], 1 - coalitions[1000:])
    assert torch.equal(weights, torch.ones(2000, dtype=torch.float64))
    assert 1 <= sizes.min() <= sizes.max() <= 48
    expected = weigh_sizes(49) / weigh_sizes(49).sum()
    assert abs(float((sizes == 1).double().mean()) - float(expected[0])) < 0.03


def test_the_solution_of_an_additive_game_is_exact() -> None:
    truth = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    coalitions, weights = choose_coalitions(5, 20, 4)
    torch.testing.assert_close(solve((coalitions, weights), coalitions @ truth, float(truth.sum())), truth)
