"""Preprocessing: channels, ranges and units of images."""

import io
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from archetype.contract.model import Preprocessing
from shared.errors import UnreadableImage
from shared.media.image import decode_image
from tests.support.run_method import noise
from worker.inputs.preprocess import ImageReader, shrink, to_levels


def test_gray_and_color_are_converted_into_each_other_and_other_channels_are_refused() -> None:
    color = noise(20, 30)
    gray = Preprocessing(size=(16, 16), mean=[0.5], std=[0.2])
    levels, _ = to_levels(color, gray)
    assert np.array_equal(levels[..., 0], np.asarray(Image.fromarray(color).convert("L")))
    assert np.array_equal(to_levels(levels, Preprocessing())[0], np.repeat(levels, 3, 2))
    seven = Preprocessing(mean=[0.5] * 7, std=[0.2] * 7)
    for levels, shape in ((color, seven), (noise(4, 4, 7), Preprocessing()), (noise(4, 4, 2), gray)):
        with pytest.raises(UnreadableImage, match="upload a NumPy array"):
            to_levels(levels, shape)


def test_values_are_read_in_the_units_of_the_range_and_the_clipped_fraction_is_returned() -> None:
    shape = Preprocessing(range=(-1000, 3000), mean=[0.0] * 3, std=[1.0] * 3)
    values = np.linspace(-2000, 4000, 3 * 61, dtype=np.float32).reshape(1, 61, 3)
    levels, clipped = to_levels(values, shape)
    assert (levels.min(), levels.max()) == (0, 255)
    assert clipped == pytest.approx(1 / 3, abs=0.02)
    middle = levels[0, 30, 1]
    assert middle == pytest.approx((1000 + 1000) / 4000 * 255, abs=1)
    assert to_levels(noise(4, 4), shape)[1] == 0  # 8-bit levels do not depend on the range


def test_sixteen_bits_are_scaled_from_black_to_white() -> None:
    values = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16, 1).repeat(3, 2)
    for shape in (Preprocessing(), Preprocessing(range=(0, 255), mean=[]), Preprocessing(range=(-1, 1), mean=[])):
        levels, clipped = to_levels(values, shape)
        assert np.array_equal(levels[..., 0].ravel(), np.arange(256))
        assert clipped == 0


def test_the_value_of_white_is_that_of_the_file() -> None:
    values = np.array([[[0, 2048, 4095]]], np.uint16)
    assert to_levels(values, Preprocessing(), white=4095)[0].ravel().tolist() == [0, 128, 255]
    assert to_levels(values, Preprocessing())[0].ravel().tolist() == [0, 8, 16]


@pytest.mark.parametrize(("span", "levels"), [((0, 4095), [0, 128, 255]), ((0, 65535), [0, 8, 16])])
def test_sixteen_bits_are_in_the_units_of_a_range_that_is_wider_than_8_bits(
    span: tuple[float, float], levels: list[int]
) -> None:
    shape = Preprocessing(range=span, mean=[])
    values = np.array([[[0, 2048, 4095]]], np.uint16)
    for white in (None, 4095):
        assert to_levels(values, shape, white=white)[0].ravel().tolist() == levels
    assert to_levels(values.astype(np.float32), shape)[0].ravel().tolist() == levels


def list_warnings(data: bytes, shape: Preprocessing) -> list[str]:
    """The warnings of a job that reads one image."""
    warnings: list[str] = []
    ImageReader(cast("Any", None), shape, partial(decode_image, max_pixels=1_000_000), warnings.append).decode(data)
    return warnings


def encode(values: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "NPY":
        np.save(buffer, values)
    else:
        Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


DEEP = Preprocessing(range=(0, 4095), mean=[])


@pytest.mark.parametrize(
    ("values", "kind", "shape"),
    [
        (np.full((4, 4), 5000, np.uint16), "PNG", DEEP),
        (np.full((4, 4), 5000, np.uint16), "TIFF", DEEP),
        (np.full((4, 4), 1.5, np.float32), "TIFF", Preprocessing()),
        (np.full((4, 4), -1, np.int32), "TIFF", DEEP),
        (np.full((4, 4), 5000, np.uint16), "NPY", DEEP),
        (np.full((4, 4), -0.5), "NPY", Preprocessing()),
    ],
)
def test_values_outside_the_range_are_a_warning_in_every_format(
    values: np.ndarray, kind: str, shape: Preprocessing
) -> None:
    half = values.copy()
    half[:2] = 0
    low, high = shape.range
    expected = f"50.0% of the values of an image lie outside {low:g} to {high:g} and were clipped"
    assert list_warnings(encode(half, kind), shape) == [expected]


@pytest.mark.parametrize(("top", "bits"), [(1000, 10), (4095, 12), (16000, 14)])
def test_an_image_of_16_bits_that_may_have_fewer_is_a_warning(top: int, bits: int) -> None:
    values = np.full((4, 4), top, np.uint16)
    for kind in ("PNG", "TIFF"):
        (warning,) = list_warnings(encode(values, kind), Preprocessing())
        assert f"the largest value of an image of 16 bits is {top}" in warning
        assert f"if it has {bits} bits" in warning
        assert list_warnings(encode(values, kind), Preprocessing(range=(0, 65535), mean=[])) == []
    for bright in (0, 16384, 65535):
        assert list_warnings(encode(np.full((4, 4), bright, np.uint16), "PNG"), Preprocessing()) == []


def test_mean_and_std_are_in_the_units_of_the_range() -> None:
    caffe = Preprocessing(range=(0, 255), mean=[104, 117, 123], std=[1, 1, 1])
    assert caffe.levels_mean == pytest.approx([104 / 255, 117 / 255, 123 / 255])
    assert caffe.levels_std == pytest.approx([1 / 255] * 3)


def test_mean_and_std_of_a_bgr_network_are_given_in_the_order_of_its_channels() -> None:
    caffe = Preprocessing(channel_order="BGR", range=(0, 255), mean=[104, 117, 123], std=[1, 2, 3])
    assert caffe.levels_mean == pytest.approx([123 / 255, 117 / 255, 104 / 255])
    assert caffe.levels_std == pytest.approx([3 / 255, 2 / 255, 1 / 255])
    assert Preprocessing().channel_order == "RGB"
    with pytest.raises(ValidationError, match="only an input of three channels can be BGR"):
        Preprocessing(channel_order="BGR", mean=[0.5], std=[0.5])
    image = noise(4, 5)
    assert np.array_equal(to_levels(image, caffe)[0], image)  # images stay RGB


def test_a_network_may_have_no_mean_and_std() -> None:
    for fields, channels in (({"mean": []}, 3), ({"mean": [], "channels": 5}, 5), ({"mean": [], "std": []}, 3)):
        shape = Preprocessing(**fields)
        assert (shape.channels, shape.mean, shape.std) == (channels, [0.0] * channels, [1.0] * channels)
    for wrong in ({"channels": 1}, {"mean": [0.5]}, {"mean": [0.5], "std": [1, 1]}, {"mean": [], "std": [1.0]}):
        with pytest.raises(ValidationError):
            Preprocessing(**wrong)


@pytest.mark.parametrize(("height", "width"), [(100, 50), (50, 100), (100, 1)])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_an_image_is_shrunk_to_its_longest_side_and_keeps_its_channels(height: int, width: int, channels: int) -> None:
    levels = noise(height, width, channels)
    small = shrink(levels, 20)
    assert small.shape == (max(1, height // 5), max(1, width // 5), channels)
    assert shrink(levels, 100) is levels
