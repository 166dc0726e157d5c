"""Tensors as pictures."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from worker.engine.render import arrange, encode_png, render_contact_sheet, render_heat_map, render_overlay, to_pixels


def test_pixels_are_clipped_and_rounded() -> None:
    picture = torch.tensor([[[-1.0, 0.0, 0.5, 1.0, 2.0]]])
    assert to_pixels(picture)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


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
