"""The figure of a saliency map has the image, the map, the overlay and a color bar."""

import numpy as np
import pytest

from worker.engine.heat_map import render_heat_map
from worker.engine.map_figure import BAR, GAP, SIDE, TITLE, render_map_figure


@pytest.mark.parametrize("has_sign", [False, True])
def test_the_color_bar_has_the_colors_of_the_map_at_its_limits(has_sign: bool) -> None:
    values = np.zeros((SIDE, SIDE), np.float32)
    values[:100], values[100:110] = 2.0, -2.0
    pixels = np.full((SIDE, SIDE, 3), 77, np.uint8)
    figure = render_map_figure(pixels, values, limit=2.0, unit="score", has_sign=has_sign, title="lemon 98%: occlusion")
    assert (figure[TITLE : TITLE + SIDE, :SIDE] == 77).all()
    heat = figure[TITLE : TITLE + SIDE, SIDE + GAP : 2 * SIDE + GAP]
    assert (heat == render_heat_map(values, 2.0)).all()
    bar = figure[TITLE + SIDE + GAP + BAR // 2, SIDE + GAP :]
    assert (bar[0] == (heat[105, 0] if has_sign else heat[200, 0])).all()
    length = figure.shape[1] - SIDE - GAP - 24
    assert (bar[length - 1] == heat[0, 0]).all()
    assert (bar[length] == 255).all()
