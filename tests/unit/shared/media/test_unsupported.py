"""Images that cannot be decoded are refused with the name of their kind."""

import cv2
import numpy as np
import pytest

from shared.errors import UnreadableImage
from shared.media.image import decode_image

COLOR = np.random.default_rng(0).random((8, 9, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        pytest.param(bytes(cv2.imencode(".tiff", COLOR)[1]), r"3 channels \(RGB\) of 32-bit floats", id="tiff"),
        pytest.param(bytes(cv2.imencode(".tiff", COLOR.astype(np.float64))[1]), "of 64-bit floats", id="double"),
        pytest.param(bytes(cv2.imencode(".hdr", COLOR)[1]), "Radiance HDR", id="hdr"),
        pytest.param(b"\x76\x2f\x31\x01" + b"\0" * 100, "OpenEXR", id="exr"),
        pytest.param(b"\0" * 128 + b"DICM" + b"\0" * 100, "DICOM", id="dicom"),
        pytest.param(b"\0\0\0\x20ftypavif" + b"\0" * 100, "AVIF", id="avif"),
        pytest.param(b"\0\0\0\x20ftypheic" + b"\0" * 100, "HEIC", id="heic"),
        pytest.param(b"%PDF-1.7", "PDF", id="pdf"),
        pytest.param(b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", id="jpeg 2000"),
    ],
)
def test_an_image_of_another_kind_is_named(data: bytes, name: str) -> None:
    with pytest.raises(UnreadableImage, match=f"an image of another kind: .*{name}.*NPY"):
        decode_image(data, max_pixels=1_000_000)
