"""Removes from an image file what its pixels do not need: texts, color profiles, EXIF, thumbnails, trailing bytes.

Such data can be as large or as wrong as it likes: it is not read, apart from the orientation and the number of
significant bits. A file whose structure is not understood is returned as it is.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from shared.media.tiff import BITS, MAX_SAMPLE_VALUES, ORIENTATION, PHOTOMETRIC, TiffFile, read_orientation

MAX_PROFILE = 1 << 18
"""Bytes to which a compressed text is unpacked to find an orientation in it."""

XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:>|\s*=\s*["\'])\s*([1-8])')
PNG, WEBP = b"\x89PNG\r\n\x1a\n", b"WEBP"
PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
WEBP_CHUNKS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
WEBP_METADATA_FLAGS = 0x20 | 0x08 | 0x04
"""Flags of VP8X that announce a color profile, EXIF and XMP."""

STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD9)}
APP0, APP1, APP14, APP15, COMMENT, START_OF_SCAN, END = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE, 0xDA, 0xD9


@dataclass(frozen=True)
class Essentials:
    """The part of an image file that is needed.

    Attributes:
        data: The file without metadata.
        orientation: The EXIF orientation, 1 to 8.
        bits: Number of significant bits of a value, if the file states it.
        is_negative: Whether the value 0 is white.
    """

    data: bytes
    orientation: int = 1
    bits: int | None = None
    is_negative: bool = False


def strip_metadata(data: bytes) -> Essentials:
    """Removes metadata from a file in one of the formats PNG, JPEG, WebP and TIFF; other files are returned as is."""
    try:
        if data.startswith(PNG):
            return _strip_png(data)
        if data.startswith(b"\xff\xd8"):
            return _strip_jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == WEBP:
            return _strip_webp(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _strip_tiff(data)
    except (struct.error, ValueError, OverflowError):
        pass  # the decoder says what is wrong with the file
    return Essentials(data)


def _strip_png(data: bytes) -> Essentials:
    kept, bits, place = [PNG], None, len(PNG)
    orientations: list[int | None] = []
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data):
            break
        content = memoryview(data)[place + 8 : end - 4]
        if kind in PNG_CHUNKS or not kind[0] & 0x20:  # critical chunks have capital letters
            kept.append(data[place:end])
        elif kind == b"sBIT":
            bits = max(content, default=None)
        elif kind == b"eXIf":
            orientations.insert(0, read_orientation(bytes(content)))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            orientations.append(_read_text_orientation(kind, content))
        place = end
        if kind == b"IEND":
            return Essentials(b"".join(kept), _first(orientations), bits)
    return Essentials(b"".join([*kept, data[place:]]), _first(orientations), bits)


def _first(orientations: list[int | None]) -> int:
    return next((orientation for orientation in orientations if orientation is not None), 1)


def _read_text_orientation(kind: bytes, content: memoryview) -> int | None:
    """The orientation in a text chunk that holds EXIF data in hexadecimal (ImageMagick), or XMP."""
    head = bytes(content[:100])
    name, separator, _ = head.partition(b"\0")
    if not separator or name not in (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp"):
        return None
    start = len(name) + 1
    is_compressed = kind == b"zTXt" or (kind == b"iTXt" and head[start : start + 1] == b"\1")
    if kind == b"zTXt":
        start += 1
    elif kind == b"iTXt":
        start = head.find(b"\0", head.find(b"\0", start + 2) + 1) + 1  # after the language and the translated name
    try:
        text = _inflate(content[start:]) if is_compressed else bytes(content[start : start + MAX_PROFILE])
        if name.startswith(b"XML"):
            return _read_xmp_orientation(text)
        digits = b"".join(text.split()[2:])
        return read_orientation(bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii")))
    except (zlib.error, ValueError):
        return None


def _inflate(data: memoryview) -> bytes:
    return zlib.decompressobj().decompress(data, MAX_PROFILE)


def _read_xmp_orientation(xmp: bytes) -> int | None:
    match = XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match else None


def _strip_jpeg(data: bytes) -> Essentials:
    kept, place = [b"\xff\xd8"], 2
    orientations: list[int | None] = []
    for marker, start, end in _list_segments(data):
        content, place = data[start + 4 : end], end
        if _is_needed_segment(marker, content):
            kept.append(data[start:end])
        elif marker == APP1 and content.startswith(b"Exif\0"):
            orientations.insert(0, read_orientation(content))
        elif marker == APP1:
            orientations.append(_read_xmp_orientation(content))
    return Essentials(b"".join([*kept, data[place:]]), _first(orientations))


def _list_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, start and end of each segment of a JPEG file before its first scan, up to one that is broken."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in STANDALONE_MARKERS:
            place += 2
        elif marker in (START_OF_SCAN, END):
            return
        else:
            (length,) = struct.unpack_from(">H", data, place + 2)
            end = place + 2 + length
            if length < 2 or end > len(data):
                return
            yield marker, place, end
            place = end


def _is_needed_segment(marker: int, content: bytes) -> bool:
    """Whether a segment before the first scan is needed: tables, sizes, and what says how colors are stored."""
    if marker == APP0:
        return content.startswith(b"JFIF\0") and len(content) >= 14
    if marker == APP14:
        return content.startswith(b"Adobe") and len(content) >= 12
    return not (APP0 <= marker <= APP15 or marker == COMMENT)


def _strip_webp(data: bytes) -> Essentials:
    kept, place = list[bytes](), 12
    orientations: list[int | None] = []
    for kind, content in _list_riff_chunks(data):
        place += 8 + len(content) + len(content) % 2
        if kind == b"EXIF":
            orientations.insert(0, read_orientation(content))
        elif kind == b"XMP ":
            orientations.append(_read_xmp_orientation(content[:MAX_PROFILE]))
        elif kind in WEBP_CHUNKS:
            if kind == b"VP8X" and content:
                content = bytes([content[0] & ~WEBP_METADATA_FLAGS]) + content[1:]
            kept.append(kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2))
    if place < min(len(data), 8 + struct.unpack_from("<I", data, 4)[0]):
        return Essentials(data, _first(orientations))  # the last chunk is cut off
    body = WEBP + b"".join(kept)
    return Essentials(b"RIFF" + struct.pack("<I", len(body)) + body, _first(orientations))


def _list_riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the name and the content of each complete chunk."""
    place = 12
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while place + 8 <= end:
        (length,) = struct.unpack_from("<I", data, place + 4)
        if place + 8 + length > len(data):
            return
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _strip_tiff(data: bytes) -> Essentials:
    file = TiffFile.open(data)
    orientation, bits = file.get_first(ORIENTATION, 1), file.get_first(BITS, 1)
    stated = [int(max(file.get(tag))).bit_length() for tag in MAX_SAMPLE_VALUES if file.get(tag)]
    if bits == 16 and stated:
        bits = stated[0]
    return Essentials(
        file.keep_needed(),
        orientation if 1 <= orientation <= 8 else 1,
        bits if 8 < bits < 16 else None,
        is_negative=file.get_first(PHOTOMETRIC, 1) == 0,
    )
