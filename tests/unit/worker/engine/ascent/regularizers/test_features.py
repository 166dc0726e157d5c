"""Feature statistics compared with a slow, literal version, alone and in a batch, and in an ascent."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import Small, seeded, with_statistics
from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.initial import Normal
from worker.engine.ascent.loop import ascend
from worker.engine.ascent.optimizers import Adam
from worker.engine.ascent.parameterization import Pixels
from worker.engine.ascent.regularizers.features import FeatureStatistics
from worker.engine.ascent.transforms import Chain
from worker.engine.model.classifier import Classifier, open_classifier
from worker.engine.model.norm_statistics import find_norm_statistics
from worker.engine.scores.reader import PLAIN_SCORES

SIDE = 20
IMAGES = torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIDE, SIDE), "device": torch.device("cpu")}
    with open_classifier(with_statistics(seeded(Small)), **options) as opened:
        yield opened


@pytest.fixture
def features(classifier: Classifier) -> FeatureStatistics:
    return FeatureStatistics(find_norm_statistics(classifier))


def make_ascent(classifier: Classifier, features: FeatureStatistics, steps: int) -> Ascent:
    return Ascent(
        steps=steps,
        parameterization=Pixels(classifier.mean, classifier.std),
        size=(SIDE, SIDE),
        start=Normal(0.1),
        optimizer=Adam.start,
        transform=Chain((SIDE, SIDE), ()),
        features=features,
    )


def measure_slowly(network: nn.Module, inputs: Tensor) -> Tensor:
    """The mean over batch norms and channels, from the inputs of each batch norm and its running statistics."""
    seen: list[Tensor] = []

    def look(norm: nn.BatchNorm2d, given: tuple[Tensor]) -> None:
        mean, std = given[0].mean((2, 3)), given[0].std((2, 3), correction=0)
        usual = (norm.running_var + norm.eps).sqrt()
        seen.append((((mean - norm.running_mean) / usual) ** 2 + (std / usual - 1) ** 2).mean(1))

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    network(inputs)
    for handle in handles:
        handle.remove()
    return torch.stack(seen).mean(0)


def test_distances_and_gradients_are_those_of_the_slow_version(
    classifier: Classifier, features: FeatureStatistics
) -> None:
    assert features.norms
    results = []
    for measure in (
        lambda inputs: features(classifier.forward(inputs, optional=features.layers)),
        lambda inputs: measure_slowly(classifier.network, inputs),
    ):
        inputs = classifier.normalize(IMAGES).requires_grad_()
        distances = measure(inputs)
        results.append((distances.detach(), torch.autograd.grad(distances.sum(), inputs)[0]))
    (ours, our_gradient), (theirs, their_gradient) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-4, atol=1e-7)


def test_the_distance_of_an_image_does_not_depend_on_the_batch(
    classifier: Classifier, features: FeatureStatistics
) -> None:
    inputs = classifier.normalize(IMAGES)
    together = features(classifier.forward(inputs, optional=features.layers))
    alone = [features(classifier.forward(inputs[row : row + 2], optional=features.layers))[0] for row in range(4)]
    assert torch.equal(together[:4], torch.stack(alone))


def test_an_ascent_with_a_large_weight_has_more_usual_features(
    classifier: Classifier, features: FeatureStatistics
) -> None:
    ascent = make_ascent(classifier, features, 30)
    distances = []
    for weight in (0.0, 100.0):
        *_, last = ascend(classifier, ascent, [Slot(target=1, seed=0, rate=0.05, weights=(weight,))])
        image = last.ended[0].image[None]
        outputs = classifier.forward(classifier.normalize(image), optional=features.layers)
        distances.append(float(features(outputs)))
    assert distances[1] < 0.5 * distances[0]


def test_each_slot_has_its_own_weight(classifier: Classifier, features: FeatureStatistics) -> None:
    ascent = replace(make_ascent(classifier, features, 1), views=2)
    outputs = classifier.forward(classifier.normalize(IMAGES[:4]), optional=features.layers)  # two views of two slots
    penalties = ascent.penalize_features(torch.tensor([[0.0], [3.0]]), outputs)
    expected = features(outputs)[[1, 3]].mean() * 3
    assert penalties.tolist() == pytest.approx([0.0, float(expected)])
    without = replace(ascent, features=None).penalize_features(torch.zeros(2, 1), outputs)
    assert without.tolist() == [0.0, 0.0]


def test_a_layer_that_does_not_run_does_not_count(classifier: Classifier, features: FeatureStatistics) -> None:
    outputs = classifier.forward(classifier.normalize(IMAGES))
    assert features(outputs).tolist() == [0.0] * len(IMAGES)
    never = replace(features.norms[0], layer="never")
    outputs = classifier.forward(classifier.normalize(IMAGES), optional=features.layers)
    assert torch.equal(FeatureStatistics((*features.norms, never))(outputs), features(outputs))


class Dead(nn.Module):
    """A batch norm runs, but the score of class 0 depends on nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        score = self.norm(x).mean((1, 2, 3))
        return torch.stack([score * 0, score], 1) * torch.ones(2)


@pytest.mark.parametrize("steps", [2, 8, 40])
def test_a_slot_whose_score_has_no_gradient_is_dead_although_its_features_have_one(steps: int) -> None:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIDE, SIDE), "device": torch.device("cpu")}
    with open_classifier(Dead(), **options) as classifier:
        classifier = replace(classifier, reader=PLAIN_SCORES)
        ascent = make_ascent(classifier, FeatureStatistics(find_norm_statistics(classifier)), steps)
        slots = [Slot(target=target, seed=0, rate=0.05, weights=(1.0,)) for target in (0, 1)]
        ends = {end.slot: end for step in ascend(classifier, ascent, slots) for end in step.ended}
        (alone,) = [end for step in ascend(classifier, ascent, slots[1:]) for end in step.ended]
    assert (ends[0].reason, ends[1].reason) == ("dead", "steps")
    torch.testing.assert_close(ends[1].image, alone.image, atol=1e-6, rtol=0)
