"""The trial of a network reports what works, and refuses networks whose scores mean nothing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from archetype.contract.model import Description
from archetype.contract.parameters.saliency import KINDS_OF_LAYERS
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from tests.support.networks import Small, seeded
from worker.engine.model.classifier import open_classifier
from worker.models.description import describe_network, draw_inputs, probe
from worker.models.trial import try_network

CPU = torch.device("cpu")
ENTRY = Release.model_validate(
    {
        "name": "odd",
        "architecture": "factory:odd",
        "classes": ["a", "b", "c", "d", "e"],
        "preprocessing": {"size": [16, 16], "mean": []},
    }
)


def tried(network: nn.Module, release: Release = ENTRY) -> Description:
    """Describes and tries a network as a worker does."""
    network.eval().requires_grad_(False)
    traits = probe(network, release, CPU)
    description = describe_network(network, "0" * 64, traits)
    shape = release.preprocessing
    opened = open_classifier(
        network, mean=shape.levels_mean, std=shape.levels_std, size=shape.size, device=CPU, traits=traits
    )
    with opened as classifier:
        return try_network(classifier, description, release)


def unavailable(description: Description) -> dict[tuple[str, str | None], str | None]:
    assert description.capabilities is not None
    return {
        (capability.method, capability.kind): capability.reason
        for capability in description.capabilities
        if not capability.available
    }


Change = Callable[[Tensor], Tensor]


class Changed(Small):
    """A small network with something before or after its features."""

    def __init__(self, before: Change = lambda x: x, after: Change = lambda z: z) -> None:
        super().__init__()
        self.change = (before, after)

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.change
        return after(super().forward(before(x)))


def counting() -> Callable[[Tensor], Tensor]:
    calls = []

    def count(scores: Tensor) -> Tensor:
        calls.append(1)
        return scores + len(calls)

    return count


def test_everything_works_with_an_ordinary_network() -> None:
    description = tried(seeded(Small))
    assert unavailable(description) == {}
    assert description.notes == []
    assert description.output == "softmax_logits"


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda: Changed(after=lambda z: functional.dropout(z, 0.5)), "two passes"),
        (lambda: Changed(after=lambda z: z + torch.rand(1)), "two passes"),
        (lambda: Changed(after=counting()), "two passes"),
        (lambda: Changed(before=lambda x: functional.batch_norm(x, None, None, training=True)), "other images"),
        (lambda: Changed(after=lambda z: z - z.mean(0, keepdim=True)), "other images"),
        (lambda: Changed(after=lambda z: z * float("nan")), "not finite"),
        (lambda: Changed(after=lambda z: z.reshape(1, 5)), "no batch of two"),
        (lambda: Changed(before=lambda x: x.permute(0, 3, 1, 2)), "3×16×16"),
        (lambda: Changed(after=lambda z: z[:, :4]), "4 scores for 5 class names"),
    ],
)
def test_a_network_whose_scores_mean_nothing_is_refused_with_the_reason(network, words: str) -> None:
    with pytest.raises(UnloadableModel, match=words) as caught:
        tried(network())
    assert "fault of the service" not in caught.value.detail


class WithoutGradient(Small):
    def __init__(self, context: Callable[[], object]) -> None:
        super().__init__()
        self.context = context

    def forward(self, x: Tensor) -> Tensor:
        with self.context():
            features = self.features(x)
        return self.classifier(features.clone()).mean((2, 3))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_network_without_gradients_keeps_what_needs_none(context) -> None:
    missing = unavailable(tried(seeded(WithoutGradient, context=context)))
    methods = {method for method, _ in missing}
    assert methods == {"saliency", "class_model", "fool", "deep_dream", "feature_inversion"}
    assert ("saliency", "occlusion") not in missing
    assert all("gradient" in str(reason) for reason in missing.values())


def test_a_network_without_relus_layers_or_filters_says_so() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    missing = unavailable(tried(network))
    assert set(missing) == {
        ("saliency", "guided"),
        ("saliency", "deconvnet"),
        *(("saliency", kind) for kind in KINDS_OF_LAYERS),
        ("filters", None),
        ("deep_dream", None),
        ("feature_inversion", None),
    }


def test_a_network_that_takes_few_images_is_accepted_with_a_note() -> None:
    def limit(x: Tensor) -> Tensor:
        assert len(x) <= 4
        return x

    description = tried(Changed(before=limit))
    assert unavailable(description) == {}
    assert description.notes == ["It takes at most 4 images at once; larger batches are split."]


def test_flat_images_without_finite_scores_are_told() -> None:
    network = Changed(before=lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))
    (note,) = tried(network).notes
    assert "black or gray or white" in note


def test_the_inputs_of_the_trial_are_normalized_images() -> None:
    shape = ENTRY.preprocessing.model_copy(update={"mean": [0.5] * 3, "std": [0.25] * 3})
    inputs = draw_inputs(shape, CPU, count=3)
    assert inputs.shape == (3, 3, 16, 16)
    assert -2 <= inputs.min() < -1.9
    assert 1.9 < inputs.max() <= 2


def test_a_network_whose_gradients_are_not_finite_says_so() -> None:
    missing = unavailable(tried(Changed(after=lambda z: z + torch.sqrt((z - z.detach()).square()))))
    assert "not finite" in str(missing["saliency", "gradient"])
    assert "not finite" in str(missing["class_model", None])
    assert ("saliency", "occlusion") not in missing
