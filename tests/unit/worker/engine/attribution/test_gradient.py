"""The gradient against Captum's and against single images, and the reduction of channels."""

import torch

from tests.support.attributions import IMAGES, TARGETS, assert_equals_captum, opened
from tests.support.networks import Small, seeded
from worker.engine.attribution.channels import reduce_channels
from worker.engine.attribution.gradient import gradient
from worker.engine.attribution.gradient_fn import in_microbatches


def test_the_gradient_equals_captums() -> None:
    assert_equals_captum(gradient, "Saliency", seeded(Small), IMAGES, TARGETS, abs=False)


def test_gradients_of_a_batch_equal_those_of_single_images_and_microbatches() -> None:
    with opened(seeded(Small)) as classifier:
        together = gradient(classifier, IMAGES, TARGETS)
        alone = [gradient(classifier, IMAGES[i : i + 1], TARGETS[i : i + 1]) for i in range(4)]
        in_threes = in_microbatches(gradient, 3)(classifier, IMAGES, TARGETS)
    torch.testing.assert_close(together, torch.cat(alone))
    torch.testing.assert_close(together, in_threes)


def test_channels_are_reduced_by_maximum_sum_or_signed_sum() -> None:
    attributions = torch.tensor([3.0, -4.0, 0.5]).view(1, 3, 1, 1)
    values = [float(reduce_channels(attributions, how)) for how in ("max", "sum", "signed")]
    assert values == [4.0, 7.5, -0.5]
