"""Small files that are expensive to read: images, archives, arrays and checkpoints."""

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image


def make_huge_png(side: int = 7000) -> bytes:
    """A valid PNG of few bytes with `side` squared pixels of one color."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + 3 * side)
    body = b"".join([packer.compress(row) for _ in range(side)]) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def make_slow_jpeg(side: int = 7000, scans: int = 400) -> bytes:
    """A progressive JPEG with many empty scans, each of which is a pass over all pixels."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True, quality=50)
    data = buffer.getvalue()
    starts = [place for place in range(len(data) - 1) if data[place : place + 2] == b"\xff\xda"]
    # The last scan refines a bit of the coefficients; it may come any number of times.
    last = data[starts[-1] : -2]
    return data[:-2] + last * scans + data[-2:]


def make_wide_tiff(side: int = 7000) -> bytes:
    """A TIFF file whose pixels are one compressed strip."""
    buffer = io.BytesIO()
    image = Image.new("RGB", (side, side))
    image.save(buffer, "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: side})
    return buffer.getvalue()


def make_zip(method: int = zipfile.ZIP_DEFLATED, size: int = 1000, name: str = "a.png") -> bytes:
    """A ZIP archive of one member of zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, archive.open(name, "w", force_zip64=True) as member:
        for _ in range(size // 1_000_000):
            member.write(b"\0" * 1_000_000)
        member.write(b"\0" * (size % 1_000_000))
    return buffer.getvalue()


def make_zip_of_entries(count: int, *, is_big: bool = False) -> bytes:
    """A ZIP archive whose directory names the same member `count` times; optionally in the ZIP64 format."""
    data = make_zip()
    end = data.rindex(b"PK\5\6")
    start = data.index(b"PK\1\2")
    directory = data[start:end] * count
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), start, 0)
    if is_big:
        place, size = start + len(directory), len(directory)
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
        full = (b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        tail = record + locator + struct.pack("<4s4H2LH", *full)
    return data[:start] + directory + tail


def make_array(shape: str, values: int = 0) -> bytes:
    """An .npy file with any text as its shape."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + np.zeros(values, "<f4").tobytes()
