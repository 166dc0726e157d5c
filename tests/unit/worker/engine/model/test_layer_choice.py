"""Layers with a feature grid, and selections of them."""

from tests.support.attributions import opened
from tests.support.networks import Functional, Small, seeded
from worker.engine.model.layer_choice import list_layers, spread_layers


def test_layers_are_listed_in_the_order_of_their_calls_with_the_size_of_their_grid() -> None:
    with opened(seeded(Small)) as classifier:
        known = list_layers(classifier)
        assert next(iter(known)) == "features.0"
        assert (known["features.0"], known["features.5"]) == ((9, 12), (5, 6))
        assert not any(module._forward_hooks for module in classifier.network.modules())


def test_selected_layers_are_spread_from_the_first_to_the_last() -> None:
    with opened(seeded(Small)) as classifier:
        assert spread_layers(classifier, 2) == ["features.3", "tail"]
        assert len(spread_layers(classifier, 4)) == 4
    with opened(seeded(Functional)) as classifier:
        assert spread_layers(classifier, 4) == ["first"]
