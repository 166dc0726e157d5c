"""Pictures as people send them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from shared.errors import Problem, TooLarge, UnreadableImage
from shared.pictures import decode_picture

LIMIT = 50_000_000


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(decode_picture(data, max_pixels=LIMIT)[0])


@pytest.fixture
def colours() -> Image.Image:
    """Four patches: red, green, blue, grey."""
    patches = np.array([[[220, 30, 40], [40, 200, 50]], [[30, 60, 210], [128, 128, 128]]], np.uint8)
    return Image.fromarray(patches.repeat(16, 0).repeat(24, 1))


def test_rgb_comes_out_as_it_went_in(colours: Image.Image) -> None:
    assert np.array_equal(decoded(encoded(colours)), np.asarray(colours))


def test_grey_becomes_three_equal_channels(colours: Image.Image) -> None:
    grey = colours.convert("L")
    assert np.array_equal(decoded(encoded(grey)), np.asarray(grey)[..., None].repeat(3, 2))


def test_a_palette_is_looked_up(colours: Image.Image) -> None:
    palette = colours.convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    assert np.abs(decoded(encoded(palette)).astype(int) - np.asarray(colours)).max() <= 4


def test_one_bit_is_black_and_white() -> None:
    bits = Image.fromarray(np.eye(8, dtype=bool))
    assert np.array_equal(decoded(encoded(bits))[..., 0], np.eye(8) * 255)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    assert np.array_equal(decoded(encoded(Image.fromarray(ramp)))[..., 0].ravel(), np.arange(256))


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    assert decoded(encoded(Image.fromarray(np.full((4, 4), 200, np.uint16)))).max() == 1


def test_transparency_is_laid_on_white() -> None:
    layer = np.zeros((4, 4, 4), np.uint8)
    layer[:2] = (255, 0, 0, 255)
    pixels = decoded(encoded(Image.fromarray(layer)))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[3, 3].tolist() == [255, 255, 255]


def test_a_transparent_palette_colour_is_laid_on_white() -> None:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    assert decoded(encoded(palette, transparency=0))[0, 0].tolist() == [255, 255, 255]


def test_cmyk_keeps_its_colours(colours: Image.Image) -> None:
    pixels = decoded(encoded(colours.convert("CMYK"), "JPEG", quality=95)).astype(int)
    assert np.abs(pixels[4, 4] - [220, 30, 40]).max() < 25
    assert np.abs(pixels[28, 4] - [30, 60, 210]).max() < 25


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_exif_orientation_is_applied(colours: Image.Image, orientation: int, corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture, facts = decode_picture(encoded(colours, "JPEG", exif=exif, quality=95), max_pixels=LIMIT)
    assert np.abs(np.asarray(picture)[corner].astype(int) - [220, 30, 40]).max() < 25
    assert (facts.width, facts.height) == picture.shape[1::-1] == ((48, 32) if orientation < 5 else (32, 48))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_is_read_and_named(colours: Image.Image, kind: str) -> None:
    picture, facts = decode_picture(encoded(colours, kind), max_pixels=LIMIT)
    assert facts.format == kind
    assert picture.shape == (colours.height, colours.width, 3)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be huge and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (1, 10_000_000), (9000, 9000)])
def test_a_huge_picture_is_refused_before_it_is_read(width: int, height: int) -> None:
    with pytest.raises(TooLarge, match="pixels"):
        decode_picture(bomb(width, height), max_pixels=LIMIT)


def test_a_truncated_picture_is_refused(colours: Image.Image) -> None:
    whole = encoded(colours.resize((400, 300)), "JPEG")
    with pytest.raises(UnreadableImage, match="whole"):
        decode_picture(whole[:-20], max_pixels=LIMIT)


@pytest.mark.parametrize(
    "data", [b"", b"hello, I am a text file called .png", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", b"\xff\xd8\xff"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage) as refused:
        decode_picture(data, max_pixels=LIMIT)
    assert refused.value.document.errors[0].field == "file"


def test_any_damage_is_a_picture_or_a_problem(colours: Image.Image) -> None:
    rng = np.random.default_rng(1)
    files = [encoded(colours, kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")]
    for round_ in range(300):
        data = bytearray(files[round_ % len(files)])
        for position in rng.integers(0, len(data), rng.integers(1, 12)):
            data[position] = rng.integers(0, 256)
        try:
            picture, _ = decode_picture(bytes(data), max_pixels=1_000_000)
        except Problem:
            continue
        assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)


def array(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 7)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float16, np.float64, np.bool_])
def test_an_array_is_a_picture_of_any_channels(shape: tuple[int, ...], kind: type) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape).astype(kind)
    picture, facts = decode_picture(array(values), max_pixels=LIMIT)
    assert (facts.format, facts.width, facts.height, facts.channels) == ("NPY", 30, 20, (*shape, 1)[2])
    assert picture.dtype == (np.uint8 if kind is np.uint8 else np.float32)
    assert np.array_equal(picture.reshape(shape), values)


BROKEN = {
    "objects": array([[{}]]), "text": array([["a"]]), "complex": array([[1j]]), "one axis": array(np.zeros(9)),
    "four axes": array(np.zeros((2, 2, 2, 2))), "channels": array(np.zeros((4, 4, 17))), "nan": array([[np.nan]]),
    "infinite": array([[np.inf]]), "overflow": array([[1e300]]), "cut": array(np.zeros((9, 9)))[:-1],
    "empty": array(np.zeros((0, 4, 3))), "header": b"\x93NUMPY\x01\x00\xff\xff{", "magic": b"\x93NUMPY",
    "code": b"\x93NUMPY\x01\x00\x30\x00" + b"__import__('os').system('true')".ljust(48),
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_array_of_a_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode_picture(data, max_pixels=LIMIT)


def test_a_large_array_is_refused_by_its_header() -> None:
    with pytest.raises(TooLarge):
        decode_picture(array(np.zeros((1, 1)))[:-8].replace(b"(1, 1)", b"(9000, 9000)"), max_pixels=LIMIT)
