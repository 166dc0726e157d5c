"""RISE against a loop over its masks, and on a network that looks at one place."""

import torch
from torch import Tensor, nn

from tests.support.attributions import IMAGES, TARGETS, opened
from tests.support.networks import Small, seeded
from worker.engine.attribution.perturbation.rise import draw_masks, rise


class Corner(nn.Module):
    """Class 1 if the upper left corner is bright, else class 0."""

    def forward(self, x: Tensor) -> Tensor:
        bright = 8 * x[:, :, :6, :6].mean((1, 2, 3))
        return torch.stack([-bright, bright], 1)


def test_rise_is_the_mean_of_the_masks_times_the_probabilities() -> None:
    network, size = seeded(Small).eval(), (18, 24)
    with opened(network) as classifier:
        ours = rise(classifier, IMAGES, TARGETS, samples=30, cells=4, seed=3, at_once=7)
        together = rise(classifier, IMAGES[1:2], TARGETS[1:2], samples=30, cells=4, seed=3, at_once=64)
    masks = draw_masks(30, 4, size, 3)
    for row, image in enumerate(IMAGES):
        expected = torch.zeros(size)
        for mask in masks:
            with torch.no_grad():
                expected += network((image * mask)[None]).softmax(1)[0, TARGETS[row]] * mask
        torch.testing.assert_close(ours[row], expected / (0.5 * 30), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[0], ours[1], atol=1e-5, rtol=1e-5)


def test_rise_finds_the_place_that_the_class_depends_on() -> None:
    with opened(Corner(), (24, 24)) as classifier:
        (values,) = rise(
            classifier, torch.ones(1, 3, 24, 24), torch.tensor([1]), samples=400, cells=4, seed=0, at_once=64
        )
    row, column = divmod(int(values.argmax()), 24)
    assert max(row, column) < 8
    assert values[:4, :4].mean() > 1.15 * values[12:, 12:].mean()


def test_masks_show_half_of_the_image_and_depend_on_the_seed() -> None:
    masks = draw_masks(500, 7, (20, 33), 1)
    assert masks.shape == (500, 20, 33)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert abs(float(masks.mean()) - 0.5) < 0.03
    assert torch.equal(masks, draw_masks(500, 7, (20, 33), 1))
    assert not torch.equal(masks, draw_masks(500, 7, (20, 33), 2))
