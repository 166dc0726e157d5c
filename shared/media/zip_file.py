"""Opens untrusted ZIP files: their directory is checked before objects are built from it."""

import struct
import zipfile
import zlib
from typing import IO

MAX_DIRECTORY_BYTES = 32_000_000
"""Largest directory of a ZIP file, which has the names of its members."""

ENTRY = struct.Struct("<4s24xHHH12x")
"""The signature of an entry of a directory, and the lengths of its name, its extra field and its comment."""

SIGNATURE = b"PK\1\2"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods whose output can be limited while it is read."""

COMPRESSORS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}
"""Names of other methods."""

BIG_END_BYTES = 76
"""Size of the two records that precede the end of a directory in the ZIP64 format."""

READ_ERRORS = (
    *(zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, struct.error, zlib.error),
    ValueError,  # among them UnicodeDecodeError, for a name
)
"""What `zipfile` raises for damaged and encrypted files."""


class TooManyMembers(ValueError):
    """A ZIP file has more members, or a larger directory, than allowed."""


class UnusualCompression(ValueError):
    """A member is compressed with another method than Deflate."""


def open_zip(file: IO[bytes], *, max_members: int) -> zipfile.ZipFile:
    """Opens a ZIP file.

    Raises:
        TooManyMembers: It has too many members.
        UnusualCompression: A member is compressed with another method than Deflate.
        zipfile.BadZipFile: It is damaged, or not a ZIP file; other errors of `zipfile` are in `READ_ERRORS`.
    """
    _check_directory(file, max_members)
    archive = zipfile.ZipFile(file)
    for info in archive.infolist():
        check_method(info)
    return archive


def check_method(info: zipfile.ZipInfo) -> None:
    """Raises `UnusualCompression` if a member is neither stored nor compressed with Deflate."""
    if info.compress_type not in METHODS:
        name = COMPRESSORS.get(info.compress_type, f"method {info.compress_type}")
        raise UnusualCompression(
            f"{info.filename[:200]!r} is compressed with {name}; only Deflate is allowed, which `zip` uses by default"
        )


def _check_directory(file: IO[bytes], max_members: int) -> None:
    # The same function finds the directory when `zipfile` opens the file: what is checked is what is read.
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if not end:
        raise zipfile.BadZipFile("File is not a zip file")
    size, location = end[zipfile._ECD_SIZE], end[zipfile._ECD_LOCATION]  # type: ignore[attr-defined]
    if size > MAX_DIRECTORY_BYTES:
        raise TooManyMembers(f"its directory has {size} bytes; the limit is {MAX_DIRECTORY_BYTES}")
    if end[zipfile._ECD_SIGNATURE] == zipfile.stringEndArchive64:  # type: ignore[attr-defined]
        location -= BIG_END_BYTES
    if location < size:
        raise zipfile.BadZipFile("Bad offset for central directory")
    file.seek(location - size)
    if _count_entries(file.read(size), max_members) > max_members:
        raise TooManyMembers(f"it contains more than {max_members} files")
    file.seek(0)


def _count_entries(directory: bytes, most: int) -> int:
    """Returns the number of entries of a directory; counts at most one more than `most`."""
    count = place = 0
    while count <= most and place + ENTRY.size <= len(directory):
        signature, *lengths = ENTRY.unpack_from(directory, place)
        if signature != SIGNATURE:
            break
        count += 1
        place += ENTRY.size + sum(lengths)
    return count
