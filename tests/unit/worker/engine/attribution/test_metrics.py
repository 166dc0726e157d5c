"""Metrics of attributions against their definitions, on networks whose result is known."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.attributions import IMAGES, TARGETS, opened
from tests.support.networks import Small, seeded
from worker.engine.attribution.boxes import Box
from worker.engine.attribution.metrics import (
    area_under,
    points_at,
    rank_correlation,
    shuffle_weights,
    trace_probability,
)


class Pixel(nn.Module):
    """Two classes; the score of the first is the brightness of the upper left pixel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x[:, :, 0, 0].sum(1)
        return torch.stack([bright, -bright], 1) * torch.ones(2)


def test_deletion_removes_pixels_in_the_order_of_the_map() -> None:
    maps = torch.zeros(2, 8, 8)
    maps[0, 0, 0] = maps[1, 7, 7] = 1
    inputs = torch.ones(2, 3, 8, 8)
    with opened(Pixel(), (8, 8)) as classifier:
        traces = trace_probability(
            classifier, inputs, torch.tensor([0, 0]), maps, how="deletion", steps=64, at_once=7
        )  # the second map's largest pixel goes first, then the rest in order, so the corner is second
    sure, even = float(torch.tensor([3.0, -3.0]).softmax(0)[0]), 0.5
    torch.testing.assert_close(traces[0], torch.tensor([sure, *[even] * 64]))
    torch.testing.assert_close(traces[1], torch.tensor([sure, sure, *[even] * 63]))


@pytest.mark.parametrize("how", ["deletion", "insertion"])
def test_a_trace_starts_or_ends_at_the_probability_of_the_whole_image(how) -> None:
    maps = torch.rand(4, 18, 24)
    with opened(seeded(Small)) as classifier:
        traces = trace_probability(classifier, IMAGES, TARGETS, maps, how=how, steps=5, at_once=100)
        probabilities = classifier.scores(IMAGES).softmax(1).gather(1, TARGETS[:, None])[:, 0]
    torch.testing.assert_close(traces[:, 0 if how == "deletion" else -1], probabilities.detach())
    assert traces.shape == (4, 6)


def test_the_area_under_a_piecewise_linear_trace_is_exact() -> None:
    traces = area_under(torch.tensor([[0.0, 0.5, 1.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    torch.testing.assert_close(traces, torch.tensor([0.5, 1.0, 0.25]))


def test_a_map_points_at_a_box_only_if_its_peak_lies_inside() -> None:
    values = np.zeros((20, 30), np.float32)
    values[4, 7] = 1
    assert points_at(values, [Box(0, 0, 2, 2), Box(7, 4, 8, 5)])
    assert not points_at(values, [Box(8, 4, 12, 8)])
    assert not points_at(np.ones((20, 30), np.float32), [Box(0, 0, 30, 20)])
    assert not points_at(np.full((20, 30), np.nan, np.float32), [Box(0, 0, 30, 20)])


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    ours = rng.random((9, 9)).astype(np.float32)
    assert rank_correlation(ours, np.exp(5 * ours)) == pytest.approx(1)
    assert rank_correlation(ours, -ours) == pytest.approx(-1)
    assert rank_correlation(ours, np.ones_like(ours)) == 0
    tied, other = np.array([[1.0, 2.0, 2.0, 3.0]], np.float32), np.array([[1.0, 3.0, 2.0, 4.0]], np.float32)
    assert rank_correlation(tied, other) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


def test_shuffled_weights_are_the_same_values_in_another_order() -> None:
    network = seeded(Small)
    with opened(network) as classifier:
        shuffled = shuffle_weights(classifier, seed=0)
        again = shuffle_weights(classifier, seed=0)
        scores = classifier.scores(IMAGES), shuffled.scores(IMAGES)
    assert not torch.allclose(*scores, atol=1e-3)
    for before, after, same in zip(
        network.parameters(), shuffled.network.parameters(), again.network.parameters(), strict=True
    ):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        assert torch.equal(after, same)
