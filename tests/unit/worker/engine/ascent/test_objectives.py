"""Objectives against their definitions."""

import pytest
import torch
from torch import nn

from tests.support.networks import Small, seeded
from worker.engine.ascent.objectives import (
    Channel,
    ClassProbability,
    ClassScore,
    FeatureMatch,
    FeatureTarget,
    LayerNorm,
    Neuron,
    WeightedSum,
)
from worker.engine.model.classifier import Outputs, open_classifier

CPU = torch.device("cpu")
INPUTS = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([1, 4])


def forward(network: nn.Module, layers: frozenset[str]) -> Outputs:
    with open_classifier(network, mean=[0.5] * 3, std=[0.2] * 3, size=(16, 20), device=CPU) as classifier:
        return classifier.forward(INPUTS, layers)


def test_the_score_is_the_logit_and_the_probability_its_softmax() -> None:
    network = seeded(Small).eval()
    outputs, logits = forward(network, frozenset()), network(INPUTS)
    torch.testing.assert_close(ClassScore()(outputs, TARGETS), torch.stack([logits[0, 1], logits[1, 4]]))
    expected = torch.stack([logits.softmax(1)[0, 1], logits.softmax(1)[1, 4]])
    torch.testing.assert_close(ClassProbability()(outputs, TARGETS), expected)


def test_a_channel_objective_is_the_mean_before_an_in_place_relu_overwrites_it() -> None:
    network = seeded(Small).eval()
    features = network.features[1](network.features[0](INPUTS))
    objective = Channel("features.1", 5)
    outputs = forward(network, objective.layers)
    torch.testing.assert_close(objective(outputs, TARGETS), features[:, 5].mean((1, 2)))
    assert features.min() < 0


def test_a_channel_objective_without_index_uses_each_slots_target() -> None:
    network = seeded(Small).eval()
    objective = Channel("classifier")
    maps = network.classifier(network.features(INPUTS))
    expected = torch.stack([maps[0, 1].mean(), maps[1, 4].mean()])
    torch.testing.assert_close(objective(forward(network, objective.layers), TARGETS), expected)


def test_a_neuron_objective_is_the_middle_unit_or_the_given_one() -> None:
    network = seeded(Small).eval()
    maps = network.features(INPUTS)  # (2, 8, 4, 5)
    outputs = forward(network, frozenset(["features"]))
    torch.testing.assert_close(Neuron("features", 3)(outputs, TARGETS), maps[:, 3, 2, 2])
    torch.testing.assert_close(Neuron("features", 3, row=0, column=4)(outputs, TARGETS), maps[:, 3, 0, 4])


def test_a_neuron_objective_of_a_layer_without_a_grid_is_its_unit() -> None:
    outputs = Outputs(torch.zeros(2, 5), {"fc": torch.arange(10.0).view(2, 5)})
    assert Neuron("fc", 2)(outputs, TARGETS).tolist() == [2, 7]
    assert Neuron("fc")(outputs, TARGETS).tolist() == [1, 9]


@pytest.mark.parametrize("objective", [Channel("features", 8), Neuron("features", 3, row=4)])
def test_channels_and_units_that_do_not_exist_are_refused(objective) -> None:
    outputs = forward(seeded(Small), objective.layers)
    with pytest.raises(ValueError, match=r"there is no (channel 8|unit 4)"):
        objective(outputs, TARGETS)


def test_a_weighted_sum_multiplies_each_term_by_its_weight() -> None:
    outputs = forward(seeded(Small), frozenset(["features"]))
    objective = WeightedSum([(2.0, ClassScore()), (-0.5, Channel("features", 0))])
    expected = 2 * ClassScore()(outputs, TARGETS) - 0.5 * Channel("features", 0)(outputs, TARGETS)
    torch.testing.assert_close(objective(outputs, TARGETS), expected)
    assert objective.layers == {"features"}


def test_an_unknown_layer_is_refused_and_all_hooks_are_removed() -> None:
    network = seeded(Small)
    with pytest.raises(ValueError, match="no layer 'layer9'"):
        forward(network, frozenset(["features", "layer9"]))
    assert not any(module._forward_hooks for module in network.modules())


def test_a_channel_objective_is_the_same_for_channels_first_channels_last_and_tokens() -> None:
    features = torch.randn(2, 24, 3, 4, generator=torch.Generator().manual_seed(0))
    tokens = torch.cat([torch.zeros(2, 1, 24), features.flatten(2).transpose(1, 2)], 1)  # a class token first
    for values in (features, features.permute(0, 2, 3, 1), tokens):
        outputs = Outputs(torch.zeros(2, 5), {"layer": values}, ratio=3 / 4)
        value = Channel("layer", 5)(outputs, torch.zeros(2, dtype=torch.int64))
        assert torch.allclose(value, features[:, 5].mean((1, 2)), atol=1e-6)
        with pytest.raises(ValueError, match="has 24 channels"):
            Channel("layer", 24)(outputs, torch.zeros(2, dtype=torch.int64))


def test_a_feature_match_uses_each_slots_own_layer_and_features() -> None:
    first, second = torch.randn(3, 2, 4, 4), torch.randn(3, 5)
    wanted = [
        FeatureTarget("second", torch.ones(5)),
        FeatureTarget("first", torch.ones(2, 4, 4)),
        FeatureTarget("second", torch.zeros(5)),
    ]
    outputs = Outputs(torch.zeros(3, 2), {"first": first, "second": second})
    values = FeatureMatch(wanted, relative=False)(outputs, torch.tensor([1, 2, 0]))
    expected = [((first[0] - 1) ** 2).sum(), (second[1] ** 2).sum(), ((second[2] - 1) ** 2).sum()]
    assert torch.allclose(-values, torch.stack(expected), rtol=1e-5)
    relative = FeatureMatch(wanted)(outputs, torch.tensor([1, 1, 0]))
    assert torch.allclose(relative[0], -((first[0] - 1) ** 2).sum() / 32, rtol=1e-5)


def test_a_layer_norm_objective_is_the_norm_of_the_whole_output() -> None:
    values = torch.randn(3, 2, 4, 4)
    outputs = Outputs(torch.zeros(3, 2), {"layer": values})
    assert torch.allclose(LayerNorm("layer")(outputs, torch.zeros(3)), values.flatten(1).norm(dim=1), rtol=1e-5)
