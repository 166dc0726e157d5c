"""Forward passes of networks that take few images, fail, or take their channels in another order."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import Small, seeded
from worker.engine.model.classifier import Classifier, in_precision, open_classifier
from worker.engine.model.network_call import NetworkError

SIZE = (16, 16)
OPTIONS = {"mean": [0.2, 0.4, 0.6], "std": [0.1, 0.2, 0.3], "size": SIZE, "device": torch.device("cpu")}
IMAGES = torch.rand(11, 3, *SIZE, generator=torch.Generator().manual_seed(0))


class AtMost(Small):
    """Takes at most so many images."""

    limit = 5

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) <= self.limit, f"at most {self.limit} images"
        return super().forward(x)


@pytest.mark.parametrize("limit", [4, 5, 10])
def test_a_network_that_takes_few_images_gets_them_in_parts(limit: int) -> None:
    network = seeded(AtMost)
    network.limit = limit
    with open_classifier(network, **OPTIONS) as classifier, open_classifier(seeded(Small), **OPTIONS) as plain:
        inputs = classifier.normalize(IMAGES).requires_grad_()
        outputs, expected = classifier.forward(inputs, ["features"]), plain.forward(inputs, ["features"])
        torch.testing.assert_close(outputs.scores, expected.scores)
        torch.testing.assert_close(outputs.activations["features"], expected.activations["features"])
        (gradient,) = torch.autograd.grad(outputs.scores.sum(), inputs)
        assert gradient.abs().amax((1, 2, 3)).gt(0).all()
        assert classifier.traits.max_batch == limit


class Failing(Small):
    """Fails for images that are bright."""

    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 100:
            raise KeyError("too bright")
        return super().forward(x)


def test_an_error_of_the_network_is_one_of_the_network() -> None:
    with open_classifier(seeded(Failing), **OPTIONS) as classifier:
        with pytest.raises(NetworkError, match="raised KeyError in its forward pass: 'too bright'"):
            classifier.scores(torch.full((4, 3, *SIZE), 1000.0))
        assert classifier.traits.max_batch is None
        assert classifier.scores(torch.ones(4, 3, *SIZE)).shape == (4, 5)


class First(nn.Module):
    """The mean of each channel is a score."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def test_a_network_for_other_channel_orders_sees_them_reversed_and_pictures_stay() -> None:
    with open_classifier(First(), **OPTIONS, reverses_channels=True) as classifier:
        inputs = classifier.normalize(IMAGES[:2]).requires_grad_()
        scores = classifier.scores(inputs)
        torch.testing.assert_close(scores, inputs.mean((2, 3)).flip(1))
        (gradient,) = torch.autograd.grad(scores[:, 0].sum(), inputs)
        assert gradient[:, 2].abs().min() > 0
        assert gradient[:, :2].abs().max() == 0


def test_a_network_that_cannot_be_copied_has_no_other_precision() -> None:
    class Uncopyable(Small):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise RuntimeError("only one of me")

    with open_classifier(seeded(Uncopyable), **OPTIONS) as classifier, pytest.raises(NetworkError, match="only one"):
        in_precision(classifier, torch.bfloat16)


def test_layouts_are_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_classifier(seeded(Small), **OPTIONS) as classifier:
        first = classifier.layouts()
        monkeypatch.delattr(Classifier, "network")
        assert classifier.layouts() is first


def test_an_image_that_the_network_refuses_is_not_taken_for_a_limit_of_the_batch() -> None:
    with open_classifier(seeded(Failing), **OPTIONS) as classifier:
        inputs = torch.ones(6, 3, *SIZE)
        inputs[4] = 1000
        with pytest.raises(NetworkError, match="too bright"):
            classifier.scores(inputs)
        assert classifier.traits.max_batch is None


def test_a_classifier_that_contrasts_with_a_class_gives_differences_of_scores() -> None:
    with open_classifier(seeded(Small), **OPTIONS) as classifier:
        contrast = replace(classifier, minus=2)
        inputs = classifier.normalize(IMAGES).requires_grad_()
        scores = classifier.scores(inputs)
        torch.testing.assert_close(contrast.scores(inputs), scores - scores[:, 2:3])
        torch.testing.assert_close(contrast.probabilities(inputs), classifier.probabilities(inputs))
        assert torch.equal(contrast.scores(inputs)[:, 2], torch.zeros(len(IMAGES)))
