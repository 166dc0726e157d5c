"""Mutates small files and JSON documents: bytes, lengths, fields, and parts of other files."""

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tests.support.hostile_files import make_array, make_zip, make_zip_of_entries

IMAGE_KINDS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
EXTREMES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\xff\xff\0\0", b"\0\1\0\0")


def make_images() -> list[bytes]:
    """A small image in every format, with several frames, modes and compressions."""
    values = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    image = Image.fromarray(values)
    options: list[tuple[str, dict[str, object]]] = [(kind, {}) for kind in IMAGE_KINDS]
    options += [("JPEG", {"progressive": True}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})]
    options += [(kind, {"save_all": True, "append_images": [image] * 3}) for kind in ("GIF", "TIFF", "PNG", "WEBP")]
    files = [_save(image, kind, **more) for kind, more in options]
    return [*files, _save(Image.fromarray(values[..., 0].astype(np.uint16) * 256), "PNG")]


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make_arrays() -> list[bytes]:
    """Small arrays, and headers that claim other shapes."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((8, 9, 3), np.float32))
    shapes = ("(4, 4)", "(99999999, 99999999)", "(4, 4, 4, 4)", "(7000, 7000)", "-1", "((4,), 4)")
    return [buffer.getvalue(), *(make_array(shape, 16) for shape in shapes)]


def make_archives() -> list[bytes]:
    """Small archives with every method, and directories of many entries."""
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return [*(make_zip(method, 500) for method in methods), *(make_zip_of_entries(n, is_big=n > 5) for n in (3, 9))]


DOCUMENTS = (
    {"method": "class_model", "model": "shapes", "targets": ["bee", 3], "params": {"steps": 10, "seeds": [1, 2]}},
    {"method": "saliency", "model": "shapes", "images": ["0" * 64, {"id": "1" * 64, "targets": [1], "boxes": []}]},
    {"method": "fool", "model": "shapes", "targets": [1], "images": {"archive": "0" * 64}, "tags": ["a", "b"]},
    {"name": "key", "tenant": "a", "scopes": ["read"]},
)
VALUES = (None, True, -1, 10**40, 1e308, "", "a" * 10_000, [], {}, "\ud800", "\0", [[]] * 100, {"a": {"a": {"a": 1}}})


def make_documents() -> list[bytes]:
    """Requests as JSON."""
    return [json.dumps(document).encode() for document in DOCUMENTS]


def mutate_bytes(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Returns a file with one to sixteen changes."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        if changed:
            chance.choice(CHANGES)(changed, chance.randrange(len(changed)), chance, others)
    return bytes(changed or b"x")


def _overwrite(data: bytearray, place: int, chance: random.Random, _: list[bytes]) -> None:
    data[place] = chance.randrange(256)


def _exaggerate(data: bytearray, place: int, chance: random.Random, _: list[bytes]) -> None:
    data[place : place + 4] = chance.choice(EXTREMES)


def _cut_off(data: bytearray, place: int, _: random.Random, __: list[bytes]) -> None:
    del data[place:]


def _remove(data: bytearray, place: int, chance: random.Random, _: list[bytes]) -> None:
    del data[place : place + chance.randrange(1, 64)]


def _repeat(data: bytearray, place: int, chance: random.Random, _: list[bytes]) -> None:
    data[place:place] = data[: chance.randrange(1, 64)] * chance.choice((1, 1, 1, 500))


def _graft(data: bytearray, place: int, chance: random.Random, others: list[bytes]) -> None:
    data[place:] = chance.choice(others)[place:]


CHANGES: tuple[Callable[[bytearray, int, random.Random, list[bytes]], None], ...] = (
    *(_overwrite, _exaggerate, _cut_off, _remove, _repeat, _graft),
)


def mutate_document(chance: random.Random) -> bytes:
    """Returns a request as JSON with other values, deep levels or long lists in the place of some of its own."""
    document = json.loads(json.dumps(chance.choice(DOCUMENTS)))
    for _ in range(chance.choice((1, 1, 2, 4))):
        holder: object = document
        while isinstance(holder, dict | list) and holder:
            key = chance.choice(list(holder) if isinstance(holder, dict) else list(range(len(holder))))
            if not isinstance(holder[key], dict | list) or chance.random() < 0.4:  # type: ignore[index]
                holder[key] = _draw_value(chance)  # type: ignore[index]
                break
            holder = holder[key]  # type: ignore[index]
    return json.dumps(document).encode()


def _draw_value(chance: random.Random) -> object:
    if chance.random() < 0.05:
        return [chance.choice(VALUES[:6])] * chance.choice((1000, 30_000))
    if chance.random() < 0.05:
        value: object = 1
        for _ in range(chance.choice((30, 400))):
            value = [value] if chance.random() < 0.5 else {"a": value}
        return value
    return copy.deepcopy(chance.choice(VALUES))


def draw_images(chance: random.Random) -> Iterator[bytes]:
    """Yields mutated images and arrays without end."""
    files = [*make_images(), *make_arrays()]
    while True:
        yield mutate_bytes(chance.choice(files), files, chance)


def draw_archives(chance: random.Random) -> Iterator[bytes]:
    """Yields mutated archives without end."""
    files = make_archives()
    while True:
        yield mutate_bytes(chance.choice(files), files, chance)


def draw_documents(chance: random.Random) -> Iterator[bytes]:
    """Yields mutated requests without end."""
    files = make_documents()
    while True:
        is_text = chance.random() < 0.3
        yield mutate_bytes(chance.choice(files), files, chance) if is_text else mutate_document(chance)
