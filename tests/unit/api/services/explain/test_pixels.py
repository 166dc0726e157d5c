"""Pixels of a request become image files without loss."""

import io

import numpy as np
import pytest
from PIL import Image

from api.services.explain.pixels import decode_base64, encode_png


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_a_file_of_pixels_has_the_same_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_one_channel_is_a_gray_image() -> None:
    pixels = np.arange(6).reshape(2, 3, 1)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels[:, :, 0])


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (1, 2, 2, 3), (0, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        encode_png(np.zeros(shape, dtype=np.int64))


@pytest.mark.parametrize("value", [-1, 256])
def test_values_outside_of_eight_bits_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 255"):
        encode_png(np.full((2, 2), value))


@pytest.mark.parametrize("text", ["no base64!", "ü", "AAA"])
def test_text_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|ASCII"):
        decode_base64(text)
