"""Images with more than 8 bits per value keep their values; OpenCV writes the files."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.errors import UnreadableImage
from shared.media.depth import find_white
from shared.media.image import ImageFacts, decode_image

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 65536, (20, 30, 3), np.uint16)
GRAY = RNG.integers(0, 65536, (20, 30), np.uint16)
WHITE = 65535


def decode(data: bytes) -> tuple[np.ndarray, ImageFacts]:
    return decode_image(data, max_pixels=1_000_000)


def write(suffix: str, values: np.ndarray, *options: int) -> bytes:
    """A file with gray, RGB or RGBA values."""
    order = {2: slice(None), 3: [2, 1, 0], 4: [2, 1, 0, 3]}[values.shape[2] if values.ndim == 3 else 2]
    swapped = values[..., order] if values.ndim == 3 else values
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(swapped), options)[1])


def write_png(values: np.ndarray, color_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of 16 bits with values (H, W, C), big-endian and without filters."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, color_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text)) for kind, text in parts
    )


def write_tiff(values: np.ndarray, order: str, fields: dict[int, Any]) -> bytes:
    """A TIFF file without compression: one strip of values (H, W, C)."""
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width, channels = values.shape
    depths = struct.pack(f"{order}{channels}H", *[values.dtype.itemsize * 8] * channels)
    place = 8 + len(pixels)
    known = {256: width, 257: height, 258: (channels, place), 259: 1, 262: 2, 273: (1, 8), 277: channels, 278: height}
    known |= {279: (1, len(pixels)), **fields}
    if channels == 1:
        known |= {258: values.dtype.itemsize * 8, 262: fields.get(262, 1)}
    entries = b""
    for tag, value in sorted(known.items()):
        is_long = tag in (273, 279)
        count, number = value if isinstance(value, tuple) else (1, value)
        form = f"{order}HHI" + ("I" if is_long or count > 1 else "HH")
        entries += struct.pack(form, tag, 4 if is_long else 3, count, number, *([] if form[-1] == "I" else [0]))
    start = place + len(depths)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + pixels + depths + struct.pack(f"{order}H", len(known)) + entries + b"\0\0\0\0"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(write(".png", COLOR), id="png"),
        pytest.param(write(".tiff", COLOR, cv2.IMWRITE_TIFF_COMPRESSION, 1), id="tiff"),
        pytest.param(write(".tiff", COLOR, cv2.IMWRITE_TIFF_COMPRESSION, 5), id="tiff, LZW"),
        pytest.param(write(".tiff", COLOR, cv2.IMWRITE_TIFF_COMPRESSION, 8), id="tiff, deflate"),
        pytest.param(write_tiff(COLOR, "<", {}), id="tiff, little-endian"),
        pytest.param(write_tiff(COLOR, ">", {}), id="tiff, big-endian"),
    ],
)
def test_colors_of_16_bits_keep_both_bytes(data: bytes) -> None:
    values, facts = decode(data)
    assert values.dtype == np.uint16
    assert np.array_equal(values, COLOR)
    assert (facts.width, facts.height, facts.channels, facts.white) == (30, 20, 3, None)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(write(".png", GRAY), id="png"),
        pytest.param(write(".tiff", GRAY, cv2.IMWRITE_TIFF_COMPRESSION, 5), id="tiff, LZW"),
        pytest.param(write_tiff(GRAY[..., None], "<", {}), id="tiff, little-endian"),
        pytest.param(write_tiff(GRAY[..., None], ">", {}), id="tiff, big-endian"),
        pytest.param(write_tiff(WHITE - GRAY[..., None], "<", {262: 0}), id="tiff, white is zero"),
    ],
)
def test_gray_of_16_bits_keeps_both_bytes_in_three_equal_channels(data: bytes) -> None:
    values, _ = decode(data)
    assert values.dtype == np.uint16
    assert np.array_equal(values, GRAY[..., None].repeat(3, 2))


def test_transparent_pixels_of_16_bits_become_white() -> None:
    alpha = np.full((20, 30, 1), WHITE, np.uint16)
    alpha[:10] = 0
    for channels, color_type in ((COLOR, 6), (GRAY[..., None], 4)):
        values, _ = decode(write_png(np.concatenate([channels, alpha], 2), color_type))
        assert (values[:10] == WHITE).all()
        assert np.array_equal(values[10:], np.broadcast_to(channels[10:], (10, 30, 3)))
    half, _ = decode(write_png(np.full((1, 1, 2), 32768, np.uint16), 4))
    assert half[0, 0].tolist() == [pytest.approx(32768 * 0.5 + WHITE * 0.5, abs=2)] * 3


def test_the_transparent_color_of_16_bits_becomes_white() -> None:
    key = struct.pack(">HHH", *COLOR[3, 4].tolist())
    values, _ = decode(write_png(COLOR, 2, (b"tRNS", key)))
    assert values[3, 4].tolist() == [WHITE] * 3
    assert np.array_equal(values[0, 0], COLOR[0, 0])
    values, _ = decode(write_png(GRAY[..., None], 0, (b"tRNS", struct.pack(">H", GRAY[3, 4]))))
    assert values[3, 4].tolist() == [WHITE] * 3


def test_an_orientation_is_applied_to_16_bits() -> None:
    values, facts = decode(write_tiff(COLOR, "<", {274: 6}))
    assert (facts.width, facts.height) == (20, 30)
    assert np.array_equal(values, np.rot90(COLOR, -1))


TWELVE = (COLOR >> 4).astype(np.uint16)
SCALED = (TWELVE << 4 | TWELVE >> 8).astype(np.uint16)


@pytest.mark.parametrize(
    ("data", "white"),
    [
        pytest.param(write_png(TWELVE, 2, (b"sBIT", b"\x0c\x0c\x0c")), 4095, id="png, sBIT, not scaled"),
        pytest.param(write_png(SCALED, 2, (b"sBIT", b"\x0c\x0c\x0c")), WHITE, id="png, sBIT, scaled"),
        pytest.param(write_png(SCALED >> 9 << 4, 2, (b"sBIT", b"\x0c\x0c\x0c")), WHITE, id="png, dark, scaled"),
        pytest.param(write_png(COLOR, 2, (b"sBIT", b"\x10\x10\x10")), None, id="png, sBIT of 16"),
        pytest.param(write_tiff(TWELVE, "<", {341: 4095}), 4095, id="tiff, SMaxSampleValue"),
        pytest.param(write_tiff(TWELVE, ">", {281: 4000}), 4095, id="tiff, MaxSampleValue"),
        pytest.param(write_tiff(COLOR, "<", {341: 4095}), WHITE, id="tiff, SMaxSampleValue that is wrong"),
        pytest.param(write_tiff(TWELVE, "<", {}), None, id="tiff, nothing stated"),
    ],
)
def test_white_is_what_the_file_states(data: bytes, white: int | None) -> None:
    assert decode(data)[1].white == white


def test_twelve_bits_are_read_as_they_are_packed() -> None:
    values = np.arange(0, 4096, 64, dtype=np.uint16).reshape(8, 8)
    pairs = values.reshape(-1, 2).astype(np.uint32)
    packed = b"".join(int(first << 12 | second).to_bytes(3, "big") for first, second in pairs)
    data = write_tiff(np.frombuffer(packed, np.uint8).reshape(8, 12, 1), "<", {256: 8})
    eight, twelve = (struct.pack("<HHIHH", 258, 3, 1, bits, 0) for bits in (8, 12))
    assert eight in data
    read, facts = decode(data.replace(eight, twelve))
    assert np.array_equal(read[..., 0], values)
    assert facts.white == 4095


@pytest.mark.parametrize("bits", [None, 8, 16, 17])
def test_there_is_no_other_white_without_a_smaller_depth(bits: int | None) -> None:
    assert find_white(TWELVE, bits, may_be_scaled=True) is None


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.int32])
def test_gray_floats_and_signed_integers_are_numbers_in_the_units_of_the_file(kind: type) -> None:
    values = RNG.integers(-1000, 3000, (20, 30)).astype(kind)
    data = io.BytesIO()
    Image.fromarray(values.astype(np.int32 if kind is np.int16 else kind)).save(data, "TIFF")
    read, _ = decode(data.getvalue())
    assert read.dtype == np.float32
    assert np.array_equal(read, values.astype(np.float32)[..., None].repeat(3, 2))


def test_floats_that_are_not_finite_are_refused() -> None:
    data = io.BytesIO()
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(data, "TIFF")
    with pytest.raises(UnreadableImage, match="not finite"):
        decode(data.getvalue())
