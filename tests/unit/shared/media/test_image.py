"""Decoding of image files in all formats, and of damaged ones."""

import io

import numpy as np
import pytest
from PIL import Image

from shared.errors import Problem, TooLarge, UnreadableImage
from shared.media.image import decode_image
from tests.support.images import bomb

LIMIT = 50_000_000


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(decode_image(data, max_pixels=LIMIT)[0])


@pytest.fixture
def colors() -> Image.Image:
    """Four patches: red, green, blue, gray."""
    patches = np.array([[[220, 30, 40], [40, 200, 50]], [[30, 60, 210], [128, 128, 128]]], np.uint8)
    return Image.fromarray(patches.repeat(16, 0).repeat(24, 1))


def test_an_rgb_image_is_decoded_unchanged(colors: Image.Image) -> None:
    assert np.array_equal(decoded(encoded(colors)), np.asarray(colors))


def test_a_gray_image_becomes_three_equal_channels(colors: Image.Image) -> None:
    gray = colors.convert("L")
    assert np.array_equal(decoded(encoded(gray)), np.asarray(gray)[..., None].repeat(3, 2))


def test_a_palette_image_is_converted_to_rgb(colors: Image.Image) -> None:
    palette = colors.convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    assert np.abs(decoded(encoded(palette)).astype(int) - np.asarray(colors)).max() <= 4


def test_a_one_bit_image_becomes_black_and_white() -> None:
    bits = Image.fromarray(np.eye(8, dtype=bool))
    assert np.array_equal(decoded(encoded(bits))[..., 0], np.eye(8) * 255)


def test_transparent_pixels_become_white() -> None:
    layer = np.zeros((4, 4, 4), np.uint8)
    layer[:2] = (255, 0, 0, 255)
    pixels = decoded(encoded(Image.fromarray(layer)))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[3, 3].tolist() == [255, 255, 255]


def test_a_transparent_palette_color_becomes_white() -> None:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    assert decoded(encoded(palette, transparency=0))[0, 0].tolist() == [255, 255, 255]


def test_a_cmyk_image_keeps_its_colors(colors: Image.Image) -> None:
    pixels = decoded(encoded(colors.convert("CMYK"), "JPEG", quality=95)).astype(int)
    assert np.abs(pixels[4, 4] - [220, 30, 40]).max() < 25
    assert np.abs(pixels[28, 4] - [30, 60, 210]).max() < 25


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_exif_orientation_is_applied(colors: Image.Image, orientation: int, corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, facts = decode_image(encoded(colors, "JPEG", exif=exif, quality=95), max_pixels=LIMIT)
    assert np.abs(np.asarray(image)[corner].astype(int) - [220, 30, 40]).max() < 25
    assert (facts.width, facts.height) == image.shape[1::-1] == ((48, 32) if orientation < 5 else (32, 48))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_is_decoded_and_named(colors: Image.Image, kind: str) -> None:
    image, facts = decode_image(encoded(colors, kind), max_pixels=LIMIT)
    assert facts.format == kind
    assert image.shape == (colors.height, colors.width, 3)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (1, 10_000_000), (9000, 9000)])
def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises(TooLarge, match="pixels"):
        decode_image(bomb(width, height), max_pixels=LIMIT)


def test_a_truncated_image_is_refused(colors: Image.Image) -> None:
    data = encoded(colors.resize((400, 300)), "JPEG")
    with pytest.raises(UnreadableImage, match="complete"):
        decode_image(data[:-20], max_pixels=LIMIT)


@pytest.mark.parametrize(
    "data", [b"", b"hello, I am a text file called .png", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", b"\xff\xd8\xff"]
)
def test_a_file_that_is_not_an_image_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage) as error:
        decode_image(data, max_pixels=LIMIT)
    assert error.value.document.errors[0].field == "file"


def test_every_damaged_file_gives_an_image_or_a_problem(colors: Image.Image) -> None:
    rng = np.random.default_rng(1)
    files = [encoded(colors, kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")]
    for round_ in range(300):
        data = bytearray(files[round_ % len(files)])
        for position in rng.integers(0, len(data), rng.integers(1, 12)):
            data[position] = rng.integers(0, 256)
        try:
            image, _ = decode_image(bytes(data), max_pixels=1_000_000)
        except Problem:
            continue
        assert (image.dtype, image.shape[2]) == (np.uint8, 3)
