"""Reads the directory of a TIFF file, and of EXIF data, which have the same format.

Sources: TIFF 6.0 (Adobe, 1992); BigTIFF (Aware Systems, 2007); EXIF 2.32.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

ORIENTATION = 274
PHOTOMETRIC, BITS, SAMPLES, PLANES, SAMPLE_FORMAT = 262, 258, 277, 284, 339
MAX_SAMPLE_VALUES = (341, 281)
"""SMaxSampleValue and MaxSampleValue."""

NEEDED = {
    *(254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 334),
    *(338, 339, 347, *range(512, 522), 529, 530, 531, 532),
}
"""Tags that say how the pixels are stored: size, strips, tiles, compression, colors."""

NUMBERS = {1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 16: "Q", 17: "q"}
"""Formats of the field types that hold numbers; a rational number is two."""

MAX_ENTRIES = 4096


class Entry(NamedTuple):
    """An entry of a directory: its tag, its values if they are numbers, and its bytes."""

    tag: int
    values: tuple[float, ...]
    raw: bytes


@dataclass(frozen=True)
class TiffFile:
    """A TIFF file, of which only the first directory is read.

    Attributes:
        data: The file.
        order: `<` for little-endian numbers, `>` for big-endian.
        is_big: Whether it is a BigTIFF file, whose offsets have eight bytes.
        entries: The first directory.
    """

    data: bytes
    order: str
    is_big: bool
    entries: tuple[Entry, ...]

    @classmethod
    def open(cls, data: bytes) -> Self:
        """Opens a file. Raises `struct.error` or `ValueError` if it is not a TIFF file or is cut off."""
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None:
            raise ValueError("not a TIFF file")
        (version,) = struct.unpack_from(f"{order}H", data, 2)
        if version not in (42, 43):
            raise ValueError("not a TIFF file")
        is_big = version == 43
        (start,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4)
        return cls(data, order, is_big, tuple(_read_directory(data, start, order, is_big=is_big)))

    def get(self, tag: int) -> tuple[float, ...]:
        """Returns the numbers of a tag; none if the tag is missing or holds no numbers."""
        return next((entry.values for entry in self.entries if entry.tag == tag), ())

    def get_first(self, tag: int, default: int) -> int:
        """Returns the first number of a tag."""
        values = self.get(tag)
        return int(values[0]) if values else default

    def keep_needed(self) -> bytes:
        """Returns the file with a directory that has only the tags that say how the pixels are stored."""
        kept = {entry.tag: entry.raw for entry in reversed(self.entries) if entry.tag in NEEDED}
        body = self.data + b"\0" * (-len(self.data) % 8)
        count, offset, place = ("Q", "Q", 8) if self.is_big else ("H", "I", 4)
        pointer = struct.pack(f"{self.order}{offset}", len(body))
        directory = struct.pack(f"{self.order}{count}", len(kept)) + b"".join(kept[tag] for tag in sorted(kept))
        end = struct.pack(f"{self.order}{offset}", 0)
        return body[:place] + pointer + body[place + len(pointer) :] + directory + end


def read_orientation(exif: bytes) -> int | None:
    """Returns the orientation in EXIF data, 1 to 8; None if there is none, or it cannot be read."""
    try:
        orientation = TiffFile.open(exif.removeprefix(b"Exif\0\0")).get_first(ORIENTATION, 0)
    except (struct.error, ValueError, OverflowError):
        return None
    return orientation if 1 <= orientation <= 8 else None


def _read_directory(data: bytes, start: int, order: str, *, is_big: bool) -> Iterator[Entry]:
    """Yields the entries up to the end of the file, if it is cut off."""
    (count,) = struct.unpack_from(f"{order}{'Q' if is_big else 'H'}", data, start)
    first, size = (start + 8, 20) if is_big else (start + 2, 12)
    for number in range(min(count, MAX_ENTRIES)):
        place = first + number * size
        raw = data[place : place + size]
        if len(raw) < size:
            return
        tag, kind = struct.unpack_from(f"{order}HH", raw)
        (length,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", raw, 4)
        yield Entry(tag, _read_values(data, raw, kind, length, order), raw)


def _read_values(data: bytes, raw: bytes, kind: int, length: int, order: str) -> tuple[float, ...]:
    """Returns the first numbers of an entry; none if it holds none, or lies outside the file."""
    head = 12 if len(raw) == 20 else 8
    if kind not in NUMBERS or not length:
        return ()
    each = NUMBERS[kind]
    form = f"{order}{each * min(length, 16)}"
    size = struct.calcsize(f"{order}{each}") * length
    try:
        if size <= len(raw) - head:
            values = struct.unpack_from(form, raw, head)
        else:
            (place,) = struct.unpack_from(f"{order}{'Q' if head == 12 else 'I'}", raw, head)
            values = struct.unpack_from(form, data, place)
    except (struct.error, OverflowError):
        return ()
    if len(each) == 2:
        return tuple(top / bottom if bottom else 0.0 for top, bottom in zip(values[::2], values[1::2], strict=True))
    return values
