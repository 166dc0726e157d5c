"""Averages and products: Captum's where it offers them, else written out."""

import pytest
import torch

from tests.attributions import PICTURES, TARGETS, assert_equals_captum, opened
from tests.networks import Small, seeded
from worker.engine.saliency.averages import along_path, smooth, times_input
from worker.engine.saliency.gradient import gradient
from worker.engine.saliency.rectified import guided


def test_gradient_times_input_equals_captums() -> None:
    assert_equals_captum(times_input(gradient), "InputXGradient", seeded(Small), PICTURES, TARGETS)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_integrated_gradients_equal_captums_however_many_go_at_once(at_once: int) -> None:
    slope = along_path(gradient, steps=20, at_once=at_once)
    assert_equals_captum(slope, "IntegratedGradients", seeded(Small), PICTURES, TARGETS, n_steps=20)


def test_integrated_gradients_add_up_to_the_difference_of_the_scores() -> None:
    with opened(seeded(Small)) as classifier:
        found = along_path(gradient, steps=200, at_once=64)(classifier, PICTURES, TARGETS).sum((1, 2, 3))
        rows = torch.arange(4)
        change = classifier.scores(PICTURES)[rows, TARGETS] - classifier.scores(PICTURES * 0)[rows, TARGETS]
    torch.testing.assert_close(found, change, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("slope", [gradient, guided])
def test_smoothgrad_is_the_mean_over_noisy_copies_of_any_slope(slope) -> None:
    noise = torch.randn(6, *PICTURES.shape[1:], generator=torch.Generator().manual_seed(9))
    with opened(seeded(Small)) as classifier:
        found = smooth(slope, samples=6, deviation=0.3, seed=9, at_once=5)(classifier, PICTURES, TARGETS)
        copies = [slope(classifier, PICTURES + 0.3 * one, TARGETS) for one in noise]
    torch.testing.assert_close(found, torch.stack(copies).mean(0), atol=1e-7, rtol=1e-4)


def test_a_pictures_average_does_not_depend_on_its_company() -> None:
    slope = smooth(gradient, samples=5, deviation=0.3, seed=1, at_once=4)
    with opened(seeded(Small)) as classifier:
        together = slope(classifier, PICTURES, TARGETS)
        alone = slope(classifier, PICTURES[2:3], TARGETS[2:3])
    torch.testing.assert_close(together[2:3], alone, atol=1e-7, rtol=1e-5)
