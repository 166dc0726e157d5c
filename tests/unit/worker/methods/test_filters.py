"""The filters of a convolution as tiles."""

import numpy as np
import pytest
import torch

from shared.errors import InvalidRequest
from tests.support.networks import Functional, Small, seeded
from worker.engine.filters import cut_tiles
from worker.methods.filters import find_filters, order_colors


def test_three_inputs_make_a_color_tile_and_others_show_the_input_of_the_largest_norm() -> None:
    weights = torch.randn(4, 3, 5, 5)
    tiles = cut_tiles(weights, [2, 0], inputs="strongest", count=64, seed=0)
    assert [tile.name for tile in tiles] == ["2", "0"]
    assert np.array_equal(tiles[0].weights, weights[2].permute(1, 2, 0).numpy())
    grey = (torch.ones(7, 3, 3) * torch.arange(7)[:, None, None])[None]
    (tile,) = cut_tiles(grey, "first", inputs="strongest", count=9, seed=0)
    assert (tile.input, tile.weights.max()) == (6, 6)


def test_random_filters_depend_on_the_seed_alone() -> None:
    weights = torch.randn(50, 3, 3, 3)
    first, again, other = (cut_tiles(weights, "random", inputs="all", count=20, seed=seed) for seed in (1, 1, 2))
    assert [tile.name for tile in first] == [tile.name for tile in again] != [tile.name for tile in other]
    assert len({tile.name for tile in first}) == 20


def test_an_unknown_convolution_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InvalidRequest, match=r"features\.0"):
        find_filters(seeded(Small), "feature.0")
    assert find_filters(seeded(Functional), None)[0] == "first"
    with pytest.raises(InvalidRequest, match="no convolution"):
        find_filters(torch.nn.Linear(2, 2), None)


def test_the_filters_of_a_bgr_network_are_shown_in_rgb() -> None:
    colored, gray = np.arange(12, dtype=np.float32).reshape(2, 2, 3), np.zeros((2, 2), np.float32)
    assert order_colors(colored, is_bgr=True)[0, 0].tolist() == [2, 1, 0]
    assert order_colors(colored, is_bgr=False) is colored
    assert order_colors(gray, is_bgr=True) is gray
