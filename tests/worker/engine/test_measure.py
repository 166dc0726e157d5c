"""What is measured of maps, against definitions written out, and on networks whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.attributions import PICTURES, TARGETS, opened
from tests.networks import Small, seeded
from worker.engine.localization import Box
from worker.engine.measure import area_under, points_at, rank_correlation, shuffle_weights, trace_probability


class Pixel(nn.Module):
    """Two classes: the first likes the pixel in the upper left corner."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x[:, :, 0, 0].sum(1)
        return torch.stack([bright, -bright], 1) * torch.ones(2)


def test_deletion_and_insertion_follow_the_maps_order() -> None:
    maps = torch.zeros(2, 8, 8)
    maps[0, 0, 0] = maps[1, 7, 7] = 1
    inputs = torch.ones(2, 3, 8, 8)
    with opened(Pixel(), (8, 8)) as classifier:
        traces = trace_probability(
            classifier, inputs, torch.tensor([0, 0]), maps, how="deletion", steps=64, at_once=7
        )  # the second map's own pixel goes first, then the others in their order, the corner second
    sure, even = float(torch.tensor([3.0, -3.0]).softmax(0)[0]), 0.5
    torch.testing.assert_close(traces[0], torch.tensor([sure, *[even] * 64]))
    torch.testing.assert_close(traces[1], torch.tensor([sure, sure, *[even] * 63]))


@pytest.mark.parametrize("how", ["deletion", "insertion"])
def test_a_trace_ends_where_the_other_picture_is(how) -> None:
    maps = torch.rand(4, 18, 24)
    with opened(seeded(Small)) as classifier:
        found = trace_probability(classifier, PICTURES, TARGETS, maps, how=how, steps=5, at_once=100)
        chances = classifier.scores(PICTURES).softmax(1).gather(1, TARGETS[:, None])[:, 0]
    torch.testing.assert_close(found[:, 0 if how == "deletion" else -1], chances.detach())
    assert found.shape == (4, 6)


def test_the_area_under_a_line_is_its_mean() -> None:
    found = area_under(torch.tensor([[0.0, 0.5, 1.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([0.5, 1.0, 0.25]))


def test_pointing_needs_the_peak_inside() -> None:
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


def test_shuffled_weights_are_the_same_values_elsewhere() -> None:
    network = seeded(Small)
    with opened(network) as classifier:
        shuffled = shuffle_weights(classifier, seed=0)
        again = shuffle_weights(classifier, seed=0)
        scores = classifier.scores(PICTURES), shuffled.scores(PICTURES)
    assert not torch.allclose(*scores, atol=1e-3)
    for before, after, same in zip(
        network.parameters(), shuffled.network.parameters(), again.network.parameters(), strict=True
    ):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        assert torch.equal(after, same)
