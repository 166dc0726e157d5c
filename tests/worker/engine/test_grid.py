"""Layers whose features have places, and a few of them that stand for all."""

import pytest
import torch

from tests.attributions import opened
from tests.networks import Functional, Small, seeded
from worker.engine.grid import list_layers, spread_layers, to_grid


def test_layers_are_listed_as_they_ran_with_the_size_of_their_grid() -> None:
    with opened(seeded(Small)) as classifier:
        known = list_layers(classifier)
        assert next(iter(known)) == "features.0"
        assert (known["features.0"], known["features.5"]) == ((9, 12), (5, 6))
        assert not any(module._forward_hooks for module in classifier.network.modules())


def test_a_few_are_spread_from_the_first_to_the_last() -> None:
    with opened(seeded(Small)) as classifier:
        assert spread_layers(classifier, 2) == ["features.3", "tail"]
        assert len(spread_layers(classifier, 4)) == 4
    with opened(seeded(Functional)) as classifier:
        assert spread_layers(classifier, 4) == ["first"]


def test_tokens_lie_on_a_grid_without_the_class_token() -> None:
    tokens = torch.arange(2 * 13 * 5).view(2, 13, 5).float()
    grid = to_grid(tokens, ratio=3 / 4)
    assert grid.shape == (2, 5, 3, 4)
    assert torch.equal(grid[0, :, 1, 2], tokens[0, 1 + 4 + 2])


@pytest.mark.parametrize(
    ("tokens", "extra", "side"), [(260, 4, 16), (21, 5, 4), (17, 1, 4), (201, 5, 14), (198, 2, 14), (49, 0, 7)]
)
def test_registers_and_class_tokens_are_left_out(tokens: int, extra: int, side: int) -> None:
    values = torch.arange(tokens).view(1, tokens, 1).float()
    grid = to_grid(values, ratio=1.0)
    assert grid.shape == (1, 1, side, side)
    assert grid.flatten()[0] == extra
