"""Small files that are expensive to read: each is some kilobytes to a few megabytes, and none contains code."""

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache

SIDE = 7_071
"""Width and height just below fifty million pixels, the largest image."""

BLOCK = 1 << 20


@cache
def png_bomb(*, depth: int = 8, channels: int = 4) -> bytes:
    """A PNG of almost fifty million pixels of one color, of some hundred kilobytes."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, kind, 0, 0, 0)
    row = bytes(1 + SIDE * channels * depth // 8)
    body = _deflate(row for _ in range(SIDE))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


@cache
def tiff_bomb(*, channels: int = 3, bits: int = 32) -> bytes:
    """A deflated TIFF of almost fifty million pixels, of floats if a value has 32 bits, of about a megabyte."""
    body = _deflate(bytes(SIDE * channels * bits // 8) for _ in range(SIDE))
    entries = [
        (256, 4, 1, SIDE),
        (257, 4, 1, SIDE),
        (258, 3, channels, None),
        (259, 3, 1, 8),
        (262, 3, 1, 2 if channels >= 3 else 1),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, SIDE),
        (279, 4, 1, len(body)),
        (284, 3, 1, 1),
        (339, 3, channels, None),
    ]
    extra_at = 8 + len(body)
    arrays = {258: [bits] * channels, 339: [3 if bits == 32 else 1] * channels}
    directory, extra = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in entries:
        if value is None and count > 2:
            value = extra_at + len(extra)
            extra += struct.pack(f"<{count}H", *arrays[tag])
            directory += struct.pack("<HHII", tag, kind, count, value)
        elif value is None:
            directory += struct.pack("<HHI4s", tag, kind, count, struct.pack(f"<{count}H", *arrays[tag]))
        elif kind == 3:
            directory += struct.pack("<HHIHH", tag, kind, count, value, 0)
        else:
            directory += struct.pack("<HHII", tag, kind, count, value)
    start = extra_at + len(extra)
    return struct.pack("<2sHI", b"II", 42, start) + body + extra + directory + struct.pack("<I", 0)


@cache
def scans_jpeg(scans: int) -> bytes:
    """A gray progressive JPEG of almost fifty million pixels with many scans, each of about a hundred bytes.

    A scan of zeros needs one symbol for 32,767 blocks, and makes the decoder visit every block of the image.
    """
    blocks = ((SIDE + 7) // 8) ** 2
    frame = struct.pack(">BHHBBBB", 8, SIDE, SIDE, 1, 1, 0x11, 0)
    table_dc = bytes([0x00, 1, *[0] * 15, 0])  # the only symbol: a difference of 0, whose code is 0
    table_ac = bytes([0x10, 1, *[0] * 15, 0xE0])  # the only symbol: an end-of-band run of 2^14 blocks and more
    parts = [b"\xff\xd8", _segment(0xDB, b"\0" + bytes([1] * 64)), _segment(0xC2, frame)]
    parts += [_segment(0xC4, table_dc + table_ac), _scan(0, 0, 0, bytes(-(-blocks // 8)))]
    run = _runs(blocks)
    parts += [_scan(1, 63, 0, run)] * scans
    return b"".join(parts) + b"\xff\xd9"


def _runs(blocks: int) -> bytes:
    """End-of-band runs over all blocks: code 0, then 14 bits that are added to 2^14."""
    bits = ""
    while blocks >= 1 << 14:
        run = min(blocks, (1 << 15) - 1)
        bits += f"0{run - (1 << 14):014b}"
        blocks -= run
    bits += "0" + "0" * 14 if blocks else ""
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))
    return data.replace(b"\xff", b"\xff\x00")


def _scan(first: int, last: int, successive: int, data: bytes) -> bytes:
    return _segment(0xDA, bytes([1, 1, 0x00, first, last, successive])) + data


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


@cache
def bzip2_archive(size: int) -> bytes:
    """A ZIP archive of less than a kilobyte or two with a bzip2 member of zeros that has a number of bytes."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive,
        archive.open("picture.png", "w", force_zip64=size >= 1 << 31) as member,
    ):
        for _ in range(size // BLOCK):
            member.write(bytes(BLOCK))
    return buffer.getvalue()


@cache
def directory_archive(entries: int) -> bytes:
    """A ZIP64 archive of a small picture whose directory names it many times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.png", b"not a picture")
    data = buffer.getvalue()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    directory = data[start:end] * entries
    after = start + len(directory)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, len(directory), start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, after, 1)
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:start] + directory + end64 + locator + tail


@cache
def checkpoint_bomb(values: int) -> bytes:
    """A checkpoint of PyTorch whose one tensor of zeros is deflated, which `torch.save` never does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", _write_state_dict(values))
        archive.writestr("archive/byteorder", b"little")
        with archive.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(values * 4 // BLOCK):
                member.write(bytes(BLOCK))
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def _write_state_dict(values: int) -> bytes:
    """The pickle of {"w": a tensor of floats}, as `torch.save` writes it."""
    rebuild, storage = b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"
    number = pickle.dumps(values, protocol=2)[2:-1]
    hooks = b"ccollections\nOrderedDict\n)R"
    key = b"(X\x07\x00\x00\x00storage" + storage + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + number + b"tQ"
    tensor = rebuild + b"(" + key + b"K\x00" + number + b"\x85K\x01\x85\x89" + hooks + b"tR"
    return b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"s."


def long_list(count: int) -> bytes:
    """A request with a list of many wrong elements; each can become an error of its own."""
    head = '{"method": "saliency", "model": "shapes", "targets": ["lemon"], "images": ["%s"], "params": {"outputs": ['
    return (head % ("0" * 64)).encode() + b",".join([b"0"] * count) + b"]}}"


def deep_json(depth: int) -> bytes:
    """A request with deeply nested lists."""
    return b'{"method": "class_model", "model": "shapes", "targets": ' + b"[" * depth + b"]" * depth + b"}"


def large_form(size: int) -> bytes:
    """A form of sign-in with many empty fields."""
    return b"key=a&next=/&" + b"a&" * (size // 2)


def _deflate(rows: Iterator[bytes]) -> bytes:
    compressor = zlib.compressobj(9)
    return b"".join(compressor.compress(row) for row in rows) + compressor.flush()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
