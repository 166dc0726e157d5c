"""Occlusion against Captum's."""

import pytest
import torch

from tests.support.attributions import IMAGES, TARGETS, opened
from tests.support.networks import Small, seeded
from worker.engine.attribution.perturbation.occlusion import find_falls, occlude


@pytest.mark.parametrize(("square", "stride", "fill"), [(5, 3, 0.0), (4, 4, 0.7), (30, 8, 0.0), (1, 1, -1.0)])
def test_occlusion_equals_captums(square: int, stride: int, fill: float) -> None:
    attr = pytest.importorskip("captum.attr", reason="Captum is the reference")
    network = seeded(Small)
    height, width = IMAGES.shape[2:]
    with opened(network) as classifier:
        ours = occlude(classifier, IMAGES, TARGETS, square=square, stride=stride, fill=fill, at_once=7)
        window, strides = (3, min(square, height), min(square, width)), (3, stride, stride)
        theirs = attr.Occlusion(network).attribute(
            IMAGES, target=TARGETS, baselines=fill, sliding_window_shapes=window, strides=strides
        )
    assert ours.abs().max() > 0
    assert (ours - theirs[:, 0]).abs().max() <= 1e-5


def test_occluding_pixels_that_the_score_ignores_changes_nothing() -> None:
    class Corner(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :2, :4, :4].mean((2, 3)) * torch.ones(2)

    with opened(Corner(), (12, 12)) as classifier:
        maps = occlude(classifier, torch.ones(1, 3, 12, 12), torch.tensor([1]), square=4, stride=4, fill=0.0, at_once=4)
    expected = torch.zeros(1, 12, 12)
    expected[:, :4, :4] = 1
    torch.testing.assert_close(maps, expected)


def test_a_fall_that_may_be_rounding_is_zero() -> None:
    before = torch.tensor(1000.0)
    after = torch.tensor([1000.0001, 999.9999, 999.0, 1001.0, 1000.0])
    assert find_falls(before, after).tolist() == [0, 0, 1, -1, 0]
    assert find_falls(before * 1e-9, after * 1e-9)[2] > 0
