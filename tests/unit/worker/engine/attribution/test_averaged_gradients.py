"""SmoothGrad, integrated gradients and gradient × input against Captum's or their definitions."""

import pytest
import torch

from tests.support.attributions import IMAGES, TARGETS, assert_equals_captum, opened
from tests.support.networks import Small, seeded
from worker.engine.attribution.averaged_gradients import (
    integrated_gradients,
    integrated_gradients_from_noise,
    smoothgrad,
    times_input,
)
from worker.engine.attribution.gradient import gradient
from worker.engine.attribution.guided_backprop import guided


def test_gradient_times_input_equals_captums() -> None:
    assert_equals_captum(times_input(gradient), "InputXGradient", seeded(Small), IMAGES, TARGETS)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_integrated_gradients_equal_captums_for_every_batch_size(at_once: int) -> None:
    gradient_fn = integrated_gradients(gradient, steps=20, at_once=at_once)
    assert_equals_captum(gradient_fn, "IntegratedGradients", seeded(Small), IMAGES, TARGETS, n_steps=20)


def test_integrated_gradients_sum_to_the_difference_of_the_scores() -> None:
    with opened(seeded(Small)) as classifier:
        result = integrated_gradients(gradient, steps=200, at_once=64)(classifier, IMAGES, TARGETS).sum((1, 2, 3))
        rows = torch.arange(4)
        change = classifier.scores(IMAGES)[rows, TARGETS] - classifier.scores(IMAGES * 0)[rows, TARGETS]
    torch.testing.assert_close(result, change, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("gradient_fn", [gradient, guided])
def test_smoothgrad_is_the_mean_gradient_of_noisy_copies(gradient_fn) -> None:
    noise = torch.randn(6, *IMAGES.shape[1:], generator=torch.Generator().manual_seed(9))
    with opened(seeded(Small)) as classifier:
        result = smoothgrad(gradient_fn, samples=6, deviation=0.3, seed=9, at_once=5)(classifier, IMAGES, TARGETS)
        copies = [gradient_fn(classifier, IMAGES + 0.3 * sample, TARGETS) for sample in noise]
    torch.testing.assert_close(result, torch.stack(copies).mean(0), atol=1e-7, rtol=1e-4)


def test_smoothgrad_of_an_image_does_not_depend_on_the_rest_of_the_batch() -> None:
    gradient_fn = smoothgrad(gradient, samples=5, deviation=0.3, seed=1, at_once=4)
    with opened(seeded(Small)) as classifier:
        together = gradient_fn(classifier, IMAGES, TARGETS)
        alone = gradient_fn(classifier, IMAGES[2:3], TARGETS[2:3])
    torch.testing.assert_close(together[2:3], alone, atol=1e-7, rtol=1e-5)


def test_integrated_gradients_from_noise_are_a_mean_over_baselines_and_the_path() -> None:
    network, steps = seeded(Small).eval(), 6
    explain = integrated_gradients_from_noise(gradient, steps=steps, seed=2, at_once=5)
    with opened(network) as classifier:
        ours = explain(classifier, IMAGES, TARGETS)
    baselines = torch.rand(steps, 3, 18, 24, generator=torch.Generator().manual_seed(2))
    for row, image in enumerate(IMAGES):
        expected = torch.zeros_like(image)
        for step, baseline in enumerate(baselines):
            point = (baseline + (step + 0.5) / steps * (image - baseline)).requires_grad_()
            (slope,) = torch.autograd.grad(network(point[None])[0, TARGETS[row]], point)
            expected += (image - baseline) * slope / steps
        torch.testing.assert_close(ours[row], expected, atol=1e-5, rtol=1e-4)
