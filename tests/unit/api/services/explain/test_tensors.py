"""Tensors of the Open Inference Protocol become image files, and predictions become tensors."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.services.explain.tensors import read_tensor
from archetype.contract.protocols.open_inference import InputTensor
from shared.errors import InvalidRequest

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3))  # (N, H, W, C)


def make_tensor(datatype: str, shape: list[int], data: list[Any]) -> InputTensor:
    return InputTensor.model_validate({"name": "images", "datatype": datatype, "shape": shape, "data": data})


def decode(files: list[bytes]) -> list[Any]:
    return [np.asarray(Image.open(io.BytesIO(file))) for file in files]


@pytest.mark.parametrize("data", [PIXELS.tolist(), PIXELS.ravel().tolist()], ids=["nested", "flat"])
def test_pixels_are_read_flat_and_nested(data: list[Any]) -> None:
    np.testing.assert_array_equal(decode(read_tensor(make_tensor("UINT8", [2, 5, 7, 3], data))), PIXELS)


def test_channels_may_come_first() -> None:
    first = PIXELS.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(decode(read_tensor(make_tensor("UINT8", [2, 3, 5, 7], first.tolist()))), PIXELS)


def test_gray_pixels_need_no_channels() -> None:
    gray = PIXELS[..., 0]
    np.testing.assert_array_equal(decode(read_tensor(make_tensor("UINT8", [2, 5, 7], gray.tolist()))), gray)


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_files_are_text_in_base64(shape: list[int]) -> None:
    texts = [base64.b64encode(file).decode() for file in (b"one", b"two")]
    data: list[Any] = texts if len(shape) == 1 else [[text] for text in texts]
    assert read_tensor(make_tensor("BYTES", shape, data)) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "words"),
    [
        ("UINT8", [1, 2, 2], [0, 1, 2], "reshape"),
        ("UINT8", [1, 2, 2], [0, 1, 2, 256], "0 to 255"),
        ("UINT8", [1, 2, 2], [0, 1, 2, -1], "0 to 255"),
        ("UINT8", [1, 2, 2], [0, 1, 2, None], "int"),
        ("UINT8", [1, 2, 2], [0, 1, 2, 2**70], "not object"),
        ("UINT8", [1, 2, 2], [0.9, 0.5, 0.1, 1.0], "integers from 0 to 255, not float64"),
        ("UINT8", [1, 2, 2], [True, False, True, False], "not bool"),
        ("UINT8", [1, 2, 2], ["0", "1", "2", "3"], "integers"),
        ("UINT8", [1, 2, 2], [[0, 1], [2]], "shape"),
        ("UINT8", [4], [0, 1, 2, 3], "shape"),
        ("UINT8", [1, 5, 2, 2], [0] * 20, "shape"),
        ("UINT8", [17, 1, 1], [0] * 17, "at most 16 images, not 17"),
        ("BYTES", [2], ["AAAA"], "1 texts"),
        ("BYTES", [1, 2], ["AAAA", "AAAA"], "2 texts"),
        ("BYTES", [1], ["no base64!"], "base64"),
        ("BYTES", [1], [7], "int"),
        ("BYTES", [1], [None], "None"),
    ],
)
def test_tensors_without_images_are_refused_with_the_cause(
    datatype: str, shape: list[int], data: list[Any], words: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_tensor(make_tensor(datatype, shape, data))
    assert words in caught.value.document.errors[0].detail
