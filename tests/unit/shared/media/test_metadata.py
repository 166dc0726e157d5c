"""Metadata that the pixels do not need: it is never a reason to refuse an image, and the orientation is applied."""

import importlib.util
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from shared.errors import UnreadableImage
from shared.media.image import decode_image, turn_upright
from shared.media.metadata import strip_metadata
from tests.support.paths import SHARED

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (24, 32, 3), np.uint8).repeat(2, 0).repeat(2, 1))
TURN_RIGHT = 6
LIMIT = 1_000_000


def encode(kind: str, image: Image.Image = PICTURE, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray:
    return decode_image(data, max_pixels=LIMIT)[0]


def chunk(kind: bytes, content: bytes, *, checksum: int | None = None) -> bytes:
    right = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", right)


def with_chunks(*chunks: bytes) -> bytes:
    """A PNG file with chunks after its header."""
    data = encode("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_segments(*segments: bytes) -> bytes:
    """A JPEG file with segments after its first marker."""
    data = encode("JPEG", quality=95)
    return data[:2] + b"".join(segments) + data[2:]


def exif(kind: int, value: bytes, *, order: str = "<", tag: int = 274, count: int = 1, after: bytes = b"") -> bytes:
    """EXIF data with one entry."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    entry = struct.pack(f"{order}HHHI", 1, tag, kind, count) + value.ljust(4, b"\0")
    return head + entry + struct.pack(f"{order}I", 0) + after


def with_riff_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file in the extended format, with chunks after its pixels."""
    flags = struct.pack("<I", 0x20 | 0x08 | 0x04)
    size = struct.pack("<I", PICTURE.width - 1)[:3] + struct.pack("<I", PICTURE.height - 1)[:3]
    body = [(b"VP8X", flags + size), (data[12:16], data[20 : 20 + struct.unpack_from("<I", data, 16)[0]]), *chunks]
    parts = [name + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2) for name, text in body]
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def with_tag(data: bytes, tag: int, kind: int, count: int, value: int) -> bytes:
    """A little-endian TIFF file with one more entry in its directory."""
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    kept = [data[start + 2 + 12 * number :][:12] for number in range(entries)]
    added = sorted([*kept, struct.pack("<HHII", tag, kind, count, value)], key=lambda entry: entry[1::-1])
    directory = struct.pack("<H", len(added)) + b"".join(added) + struct.pack("<I", 0)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


def long_text(*, compressed: bool) -> bytes:
    info = PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=compressed)
    return encode("PNG", pnginfo=info)


ODD_PNG: dict[str, Callable[[], bytes]] = {
    "long compressed text": lambda: long_text(compressed=True),
    "long text": lambda: long_text(compressed=False),
    "many long texts": lambda: with_chunks(*[chunk(b"zTXt", b"t\0\0" + zlib.compress(b"x" * 1_000_000))] * 70),
    "a text that inflates to a gigabyte": lambda: with_chunks(chunk(b"iTXt", b"t\0\1\0\0\0" + make_bomb())),
    "a profile of 3 MB": lambda: encode("PNG", icc_profile=RNG.bytes(3_000_000)),
    "a broken profile": lambda: with_chunks(chunk(b"iCCP", b"p\0\0not zlib")),
    "a text that is not zlib": lambda: with_chunks(chunk(b"zTXt", b"t\0\0not zlib")),
    "a wrong checksum of a text": lambda: with_chunks(chunk(b"tEXt", b"t\0text", checksum=0)),
    "an unknown chunk": lambda: with_chunks(chunk(b"abCd", RNG.bytes(100))),
    "a short size of pixels": lambda: with_chunks(chunk(b"pHYs", b"\0")),
    "a short gamma": lambda: with_chunks(chunk(b"gAMA", b""), chunk(b"cHRM", b"\0\1"), chunk(b"sRGB", b"")),
    "an animation without frames": lambda: with_chunks(chunk(b"acTL", b"\xff" * 8)),
    "broken EXIF": lambda: with_chunks(chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")),
    "bytes after the end": lambda: encode("PNG") + RNG.bytes(5000),
}
ODD_JPEG: dict[str, Callable[[], bytes]] = {
    "a profile of 3 MB": lambda: encode("JPEG", quality=95, icc_profile=RNG.bytes(3_000_000)),
    "a profile with a part missing": lambda: with_segments(segment(0xE2, b"ICC_PROFILE\0\2\3xx")),
    "comments": lambda: with_segments(*[segment(0xFE, b"c" * 65_000)] * 50),
    "EXIF of a wrong type": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(2, b"no!\0", count=4))),
    "EXIF with an offset outside": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(5, b"\xff\xff\xff\xff"))),
    "EXIF that points to itself": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(4, b"\x08", tag=0x8769))),
    "EXIF with an unknown type": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(99, b"\6"))),
    "EXIF that is cut off": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(3, b"\6")[:15])),
    "EXIF that is empty": lambda: with_segments(segment(0xE1, b"Exif\0\0")),
    "an orientation of 9": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(3, b"\x09"))),
    "EXIF resolutions divided by zero": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(5, b"\x1a", tag=282))),
    "a broken index of further images": lambda: with_segments(segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff")),
    "a broken thumbnail": lambda: with_segments(segment(0xE0, b"JFXX\0\x10\xff\xd8\xff")),
    "a short JFIF": lambda: with_segments(segment(0xE0, b"JFIF\0")),
    "a short Adobe": lambda: with_segments(segment(0xEE, b"Adobe")),
    "a broken Photoshop block": lambda: with_segments(segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\1x")),
    "XMP that is not text": lambda: with_segments(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + RNG.bytes(500))),
    "bytes after the end": lambda: encode("JPEG", quality=95) + RNG.bytes(5000),
    "fill bytes": lambda: with_segments(b"\xff\xff\xff" + segment(0xFE, b"c")),
}
LOSSLESS = {"lossless": True}
ODD_WEBP: dict[str, Callable[[], bytes]] = {
    "metadata of all kinds": lambda: with_riff_chunks(
        encode("WEBP", **LOSSLESS), (b"ICCP", RNG.bytes(3_000_001)), (b"EXIF", b"II*\0\xff"), (b"XMP ", b"\0\xff")
    ),
    "an unknown chunk": lambda: with_riff_chunks(encode("WEBP", **LOSSLESS), (b"what", b"x" * 7)),
    "flags of metadata that is missing": lambda: with_riff_chunks(encode("WEBP", **LOSSLESS)),
    "bytes after the end": lambda: encode("WEBP", **LOSSLESS) + RNG.bytes(500),
}
ODD_TIFF: dict[str, Callable[[], bytes]] = {
    "a profile of 3 MB": lambda: encode("TIFF", icc_profile=RNG.bytes(3_000_000)),
    "a profile outside the file": lambda: with_tag(encode("TIFF"), 34675, 7, 10_000_000, 0xFFFFFF),
    "a description outside the file": lambda: with_tag(encode("TIFF"), 270, 2, 4_000_000_000, 8),
    "EXIF that points to the file": lambda: with_tag(encode("TIFF"), 34665, 4, 1, 8),
    "EXIF of a wrong type": lambda: with_tag(encode("TIFF"), 34665, 2, 4, 0x6F6E),
    "an orientation of a wrong type": lambda: with_tag(encode("TIFF"), 274, 2, 4, 0x6F6E),
    "XMP of a wrong type": lambda: with_tag(encode("TIFF"), 700, 12, 1000, 8),
    "a resolution of a wrong type": lambda: with_tag(encode("TIFF"), 282, 2, 3, 0x6F6E),
    "an unknown type": lambda: with_tag(encode("TIFF"), 65000, 99, 1, 0),
    "further directories that are broken": lambda: broken_second_directory(),
    "bytes after the end": lambda: encode("TIFF") + RNG.bytes(501),
}


@cache
def make_bomb() -> bytes:
    return zlib.compress(b"\0" * (1 << 28))


def broken_second_directory() -> bytes:
    data = bytearray(encode("TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * entries, 0xFFFFFF0)
    return bytes(data)


CASES = [
    pytest.param(kind, make, id=f"{kind}-{name}")
    for kind, odd in (("PNG", ODD_PNG), ("JPEG", ODD_JPEG), ("WEBP", ODD_WEBP), ("TIFF", ODD_TIFF))
    for name, make in odd.items()
]


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_a_file_with_odd_metadata_has_the_pixels_of_the_clean_one(kind: str, make: Callable[[], bytes]) -> None:
    options = {"JPEG": {"quality": 95}, "WEBP": LOSSLESS}.get(kind, {})
    clean = np.asarray(Image.open(io.BytesIO(encode(kind, **options))).convert("RGB"))
    pixels, facts = decode_image(make(), max_pixels=LIMIT)
    assert np.array_equal(pixels, clean)
    assert (facts.format, facts.width, facts.height) == (kind, 64, 48)


def test_gif_and_bmp_files_may_have_comments_and_trailing_bytes() -> None:
    palette = PICTURE.quantize(16)
    for kind, options in (("GIF", {"comment": b"c" * 1_000_000}), ("BMP", {})):
        data = encode(kind, palette, **options) + RNG.bytes(500)
        assert np.array_equal(decode(data), np.asarray(palette.convert("RGB")))


def test_a_text_is_not_inflated() -> None:
    data = ODD_PNG["a text that inflates to a gigabyte"]()
    tracemalloc.start()
    decode(data)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


TURNED = np.asarray(PICTURE.transpose(Image.Transpose.ROTATE_270))
XMP = b'<rdf:Description tiff:Orientation="6"/>'
HEX = b"\nexif\n      " + str(len(exif(3, b"\6"))).encode() + b"\n" + exif(3, b"\6").hex().encode() + b"\n"
ORIENTED: dict[str, Callable[[], bytes]] = {
    "JPEG, short": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(3, b"\6"))),
    "JPEG, big-endian": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(3, b"\0\6", order=">"))),
    "JPEG, long": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(4, b"\6"))),
    "JPEG, byte": lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif(1, b"\6"))),
    "JPEG, rational": lambda: with_segments(
        segment(0xE1, b"Exif\0\0" + exif(5, struct.pack("<I", 26), after=struct.pack("<II", 6, 1)))
    ),
    "JPEG, after a broken part": lambda: with_segments(
        segment(0xE1, b"Exif\0\0II"), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    ),
    "PNG": lambda: with_chunks(chunk(b"eXIf", exif(3, b"\6"))),
    "PNG, XMP": lambda: with_chunks(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    "PNG, compressed XMP": lambda: with_chunks(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))),
    "PNG, ImageMagick": lambda: with_chunks(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(HEX))),
    "WebP": lambda: with_riff_chunks(encode("WEBP", **LOSSLESS), (b"EXIF", exif(3, b"\6"))),
    "TIFF": lambda: with_tag(encode("TIFF"), 274, 3, 1, 6),
    "TIFF, long, compressed": lambda: with_tag(encode("TIFF", compression="tiff_lzw"), 274, 4, 1, 6),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in ORIENTED.items()])
def test_an_orientation_is_applied_wherever_it_can_be_read(make: Callable[[], bytes]) -> None:
    pixels, facts = decode_image(make(), max_pixels=LIMIT)
    assert (facts.width, facts.height) == (48, 64)
    if facts.format != "JPEG":
        assert np.array_equal(pixels, TURNED)


def test_exif_has_precedence_over_xmp() -> None:
    upright = segment(0xE1, b"Exif\0\0" + exif(3, b"\1"))
    turned = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    assert strip_metadata(with_segments(turned)).orientation == 6
    for segments in ((upright, turned), (turned, upright)):
        assert strip_metadata(with_segments(*segments)).orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_turns_it(orientation: int) -> None:
    marked = PICTURE.copy()
    marked.getexif()[274] = orientation
    expected = ImageOps.exif_transpose(marked)
    assert np.array_equal(turn_upright(np.asarray(PICTURE), orientation), np.asarray(expected))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_file_keeps_its_pixels_in_every_compression(compression: str) -> None:
    for big in (False, True):
        data = encode("TIFF", compression=compression, big_tiff=big)
        assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_file_that_is_cut_off_is_refused(kind: str) -> None:
    data = encode(kind)
    for length in (4, 20, len(data) // 2):
        with pytest.raises(UnreadableImage):
            decode(data[:length])


def test_the_case_of_a_long_text_is_decoded() -> None:
    path = SHARED / "cases" / "classifiers.py"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    spec = importlib.util.spec_from_file_location("classifiers", path)
    assert spec is not None
    assert spec.loader is not None
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(decode(cases.png_long_text()), pixels)
