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
    to_rgb,
    to_uint8,
)


def test_pixels_are_clipped_and_rounded() -> None:
    image = torch.tensor([[[-1.0, 0.0, 0.5, 1.0, 2.0]]])
    assert to_uint8(image)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_a_png_contains_the_encoded_pixels() -> None:
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


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
