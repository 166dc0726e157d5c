"""Decoding of NumPy arrays, and of damaged or malicious ones."""

import io

import numpy as np
import pytest

from shared.errors import TooLarge, UnreadableImage
from shared.media.image import decode_image

LIMIT = 50_000_000


def encode_array(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 7)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float16, np.float64, np.bool_])
def test_an_array_keeps_its_channels_and_values(shape: tuple[int, ...], kind: type) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape).astype(kind)
    image, facts = decode_image(encode_array(values), max_pixels=LIMIT)
    assert (facts.format, facts.width, facts.height, facts.channels) == ("NPY", 30, 20, (*shape, 1)[2])
    assert image.dtype == (np.uint8 if kind is np.uint8 else np.float32)
    assert np.array_equal(image.reshape(shape), values)


BROKEN = {
    "objects": encode_array([[{}]]),
    "text": encode_array([["a"]]),
    "complex": encode_array([[1j]]),
    "one axis": encode_array(np.zeros(9)),
    "four axes": encode_array(np.zeros((2, 2, 2, 2))),
    "channels": encode_array(np.zeros((4, 4, 17))),
    "nan": encode_array([[np.nan]]),
    "infinite": encode_array([[np.inf]]),
    "overflow": encode_array([[1e300]]),
    "cut": encode_array(np.zeros((9, 9)))[:-1],
    "empty": encode_array(np.zeros((0, 4, 3))),
    "header": b"\x93NUMPY\x01\x00\xff\xff{",
    "magic": b"\x93NUMPY",
    "code": b"\x93NUMPY\x01\x00\x30\x00" + b"__import__('os').system('true')".ljust(48),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_an_array_that_is_not_an_image_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode_image(data, max_pixels=LIMIT)


def test_an_array_with_too_many_pixels_is_refused_by_its_header() -> None:
    with pytest.raises(TooLarge):
        decode_image(encode_array(np.zeros((1, 1)))[:-8].replace(b"(1, 1)", b"(9000, 9000)"), max_pixels=LIMIT)
