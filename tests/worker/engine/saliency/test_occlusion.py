"""Occlusion against Captum's."""

import pytest
import torch

from tests.attributions import PICTURES, TARGETS, opened
from tests.networks import Small, seeded
from worker.engine.saliency.occlusion import occlude


@pytest.mark.parametrize(("square", "stride", "fill"), [(5, 3, 0.0), (4, 4, 0.7), (30, 8, 0.0), (1, 1, -1.0)])
def test_it_equals_captums(square: int, stride: int, fill: float) -> None:
    attr = pytest.importorskip("captum.attr", reason="Captum is what is compared with")
    network = seeded(Small)
    height, width = PICTURES.shape[2:]
    with opened(network) as classifier:
        ours = occlude(classifier, PICTURES, TARGETS, square=square, stride=stride, fill=fill, at_once=7)
        window, strides = (3, min(square, height), min(square, width)), (3, stride, stride)
        theirs = attr.Occlusion(network).attribute(
            PICTURES, target=TARGETS, baselines=fill, sliding_window_shapes=window, strides=strides
        )
    assert ours.abs().max() > 0
    assert (ours - theirs[:, 0]).abs().max() <= 1e-5


def test_what_the_score_does_not_see_is_worth_nothing() -> None:
    class Corner(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :2, :4, :4].mean((2, 3)) * torch.ones(2)

    with opened(Corner(), (12, 12)) as classifier:
        maps = occlude(classifier, torch.ones(1, 3, 12, 12), torch.tensor([1]), square=4, stride=4, fill=0.0, at_once=4)
    expected = torch.zeros(1, 12, 12)
    expected[:, :4, :4] = 1
    torch.testing.assert_close(maps, expected)
