"""The gradient against Captum's, against itself one picture at a time, and what becomes of its channels."""

import torch

from tests.attributions import PICTURES, TARGETS, assert_equals_captum, opened
from tests.networks import Small, seeded
from worker.engine.saliency.channels import reduce_channels
from worker.engine.saliency.gradient import gradient
from worker.engine.saliency.slope import in_parts


def test_it_equals_captums() -> None:
    assert_equals_captum(gradient, "Saliency", seeded(Small), PICTURES, TARGETS, abs=False)


def test_a_batch_is_the_sum_of_its_pictures() -> None:
    with opened(seeded(Small)) as classifier:
        together = gradient(classifier, PICTURES, TARGETS)
        alone = [gradient(classifier, PICTURES[i : i + 1], TARGETS[i : i + 1]) for i in range(4)]
        in_threes = in_parts(gradient, 3)(classifier, PICTURES, TARGETS)
    torch.testing.assert_close(together, torch.cat(alone))
    torch.testing.assert_close(together, in_threes)


def test_channels_become_a_map() -> None:
    slopes = torch.tensor([3.0, -4.0, 0.5]).view(1, 3, 1, 1)
    found = [float(reduce_channels(slopes, how)) for how in ("max", "sum", "signed")]
    assert found == [4.0, 7.5, -0.5]
