"""Tensors as pictures."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from worker.engine.render import (
    arrange,
    encode_animation,
    encode_png,
    render_contact_sheet,
    render_curve,
    render_heat_map,
    render_overlay,
    to_levels,
    to_rgb,
)


def test_pixels_are_clipped_and_rounded() -> None:
    picture = torch.tensor([[[-1.0, 0.0, 0.5, 1.0, 2.0]]])
    assert to_levels(picture)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_a_png_holds_the_pixels_it_was_given() -> None:
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_a_heat_map_is_bright_where_the_map_is() -> None:
    values = np.zeros((20, 20), np.float32)
    values[5:8, 12:15] = 3
    colours = render_heat_map(values).sum(2)
    assert colours[6, 13] > colours[0, 0] + 200


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_a_flat_map_is_drawn_and_does_not_divide_by_zero(fill: float) -> None:
    values = np.full((9, 11), fill, np.float32)
    assert render_overlay(np.full((9, 11, 3), 90, np.uint8), values).shape == (9, 11, 3)


def test_a_contact_sheet_shows_every_cell() -> None:
    cells = [(np.full((10, 30, 3), shade, np.uint8), f"cell {shade}") for shade in (0, 60, 120, 180, 240)]
    sheet = render_contact_sheet(arrange(cells, 3), side=60)
    assert sheet.shape == (2 * (60 + 22 + 6) + 6, 3 * 66 + 6, 3)
    assert {0, 60, 120, 180, 240} <= set(sheet[:, :, 0].ravel().tolist())


@pytest.mark.parametrize(("channels", "shape"), [(1, (4, 6, 3)), (3, (4, 6, 3)), (2, (4, 12, 3)), (7, (4, 42, 3))])
def test_pictures_of_any_channels_can_be_looked_at(channels: int, shape: tuple[int, ...]) -> None:
    levels = to_levels(torch.rand(channels, 4, 6))
    assert levels.shape == (4, 6, channels)
    assert to_rgb(levels).shape == shape


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_has_every_frame_and_starts_again(kind: str) -> None:
    frames = [np.full((20, 30, 3), level, np.uint8) for level in (0, 90, 180, 255)]
    with Image.open(io.BytesIO(encode_animation(frames, kind))) as animation:
        assert (animation.format, animation.n_frames, animation.size) == (kind, 4, (30, 20))
        assert animation.info["loop"] == 0
        animation.seek(3)
        assert np.asarray(animation.convert("RGB")).mean() > 250


def test_a_curve_goes_from_the_lower_left_to_the_upper_right() -> None:
    picture = render_curve(np.linspace(-3, 12, 50, dtype=np.float32))
    blue = (picture[..., 2].astype(int) - picture[..., 0]) > 100
    rows, columns = np.nonzero(blue)
    assert rows[columns.argmin()] > rows[columns.argmax()]
    assert render_curve(np.asarray([np.nan], np.float32)).shape == picture.shape
