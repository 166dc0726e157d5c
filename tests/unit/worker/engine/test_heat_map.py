"""Heat maps and overlays: bright where a map is large, with colors of their own for negative values."""

import numpy as np
import pytest

from worker.engine.heat_map import find_limit, render_heat_map, render_overlay


def test_a_heat_map_is_bright_where_the_map_is_large() -> None:
    values = np.zeros((20, 20), np.float32)
    values[5:8, 12:15] = 3
    colors = render_heat_map(values).sum(2)
    assert colors[6, 13] > colors[0, 0] + 200


def test_positive_and_negative_values_of_any_strength_have_colors_of_their_own() -> None:
    values = np.linspace(-1, 1, 511, dtype=np.float32).reshape(7, 73)
    colors = render_heat_map(values).astype(int)
    red_minus_green = colors[..., 0] - colors[..., 1]
    assert (red_minus_green[values > 0.02] >= -4).all()  # pale yellow
    assert (red_minus_green[values < -0.02] <= -5).all()
    blank = render_overlay(np.full((7, 73, 3), 90, np.uint8), values * 0)
    assert (render_overlay(np.full((7, 73, 3), 90, np.uint8), np.minimum(values, 0)) != blank).any()


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_never_rendered(fault: float) -> None:
    values = np.zeros((9, 11), np.float32)
    values[3, 4] = fault
    with pytest.raises(ValueError, match="cannot be rendered"):
        render_heat_map(values)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_an_overlay_of_a_constant_map_is_rendered_without_dividing_by_zero(fill: float) -> None:
    values = np.full((9, 11), fill, np.float32)
    assert render_overlay(np.full((9, 11, 3), 90, np.uint8), values).shape == (9, 11, 3)


def test_a_limit_gives_two_maps_the_same_colors_for_the_same_values() -> None:
    weak, strong = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10), np.linspace(0, 4, 100, dtype=np.float32)
    strong = strong.reshape(10, 10)
    assert (render_heat_map(weak) == render_heat_map(strong)).all()  # each has its own limit
    ours, theirs = render_heat_map(weak, 2).astype(int), render_heat_map(strong, 2).astype(int)
    assert ours.sum(2).max() < theirs.sum(2).max()
    assert (theirs[5:] == theirs[-1, -1]).all()
    assert np.abs(ours[8, 0] - theirs[2, 0]).max() <= 6  # 0.81 and 0.81


def test_an_overlay_has_the_same_colors_with_the_limit_that_it_chooses() -> None:
    values = np.random.default_rng(0).random((20, 20), dtype=np.float32)
    pixels = np.full((20, 20, 3), 90, np.uint8)
    assert (render_overlay(pixels, values) == render_overlay(pixels, values, find_limit(values))).all()
    assert (render_overlay(pixels, values) != render_overlay(pixels, values, 5 * find_limit(values))).any()
