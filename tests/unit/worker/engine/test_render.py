"""Rendering of tensors as images."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from worker.engine.render import (
    arrange,
    encode_png,
    render_contact_sheet,
    render_curve,
    render_heat_map,
    render_overlay,
    to_rgb,
    to_uint8,
)


def test_pixels_are_clipped_and_rounded() -> None:
    image = torch.tensor([[[-1.0, 0.0, 0.5, 1.0, 2.0]]])
    assert to_uint8(image)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_a_png_contains_the_encoded_pixels() -> None:
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


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


def test_a_contact_sheet_shows_every_cell() -> None:
    cells = [(np.full((10, 30, 3), shade, np.uint8), f"cell {shade}") for shade in (0, 60, 120, 180, 240)]
    sheet = render_contact_sheet(arrange(cells, 3), side=60)
    assert sheet.shape == (2 * (60 + 22 + 6) + 6, 3 * 66 + 6, 3)
    assert {0, 60, 120, 180, 240} <= set(sheet[:, :, 0].ravel().tolist())


@pytest.mark.parametrize(("channels", "shape"), [(1, (4, 6, 3)), (3, (4, 6, 3)), (2, (4, 12, 3)), (7, (4, 42, 3))])
def test_images_with_any_number_of_channels_become_rgb(channels: int, shape: tuple[int, ...]) -> None:
    image = to_uint8(torch.rand(channels, 4, 6))
    assert image.shape == (4, 6, channels)
    assert to_rgb(image).shape == shape


def test_a_curve_goes_from_the_lower_left_to_the_upper_right() -> None:
    image = render_curve(np.linspace(-3, 12, 50, dtype=np.float32))
    blue = (image[..., 2].astype(int) - image[..., 0]) > 100
    rows, columns = np.nonzero(blue)
    assert rows[columns.argmin()] > rows[columns.argmax()]
    assert render_curve(np.asarray([np.nan], np.float32)).shape == image.shape
