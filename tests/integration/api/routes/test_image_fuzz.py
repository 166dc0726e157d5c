"""Ten thousand broken images: each is read or refused, and none leaks memory."""

import io
import random
import resource
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from api.app import create_app
from deploy.local import Stack
from shared.errors import Problem
from shared.media.image import decode_image

COUNT, OVER_HTTP = 10_000, 400
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


def make_seeds() -> list[bytes]:
    """A small image in every format, and as an array."""
    values = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    files = []
    for kind in FORMATS:
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, kind)
        files.append(buffer.getvalue())
    buffer = io.BytesIO()
    np.save(buffer, values)
    return [*files, buffer.getvalue()]


def overwrite(data: bytearray, place: int, chance: random.Random) -> None:
    data[place] = chance.randrange(256)


def exaggerate(data: bytearray, place: int, chance: random.Random) -> None:
    """Writes an impossible length or size."""
    data[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))


def cut_off(data: bytearray, place: int, _: random.Random) -> None:
    del data[place:]


def segment_object(data: bytearray, place: int, chance: random.Random) -> None:
    del data[place : place + chance.randrange(1, 64)]


def repeat(data: bytearray, place: int, chance: random.Random) -> None:
    data[place:place] = data[: chance.randrange(1, 64)]


def graft(data: bytearray, place: int, chance: random.Random) -> None:
    """Appends the end of another file."""
    data[place:] = chance.choice(SEEDS)[place:]


SEEDS = make_seeds()
DAMAGES = (overwrite, exaggerate, cut_off, segment_object, repeat, graft)


def mutate(chance: random.Random) -> Iterator[bytes]:
    """Yields broken files without end."""
    while True:
        data = bytearray(chance.choice(SEEDS))
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            if data:
                chance.choice(DAMAGES)(data, chance.randrange(len(data)), chance)
        yield bytes(data or b"x")


def test_ten_thousand_broken_images_are_read_or_refused_and_leak_no_memory() -> None:
    files = mutate(random.Random(7))
    read = refused = 0
    for number in range(COUNT):
        if number == COUNT // 4:  # codecs and caches are loaded by now
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            values, _ = decode_image(next(files), max_pixels=1_000_000)
            assert values.ndim == 3
            read += 1
        except Problem as problem:
            refused += problem.status in (413, 415, 422)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert read > COUNT // 20
    assert refused == COUNT - read > COUNT // 5
    assert grown < 64_000, f"{grown} kB more"


@pytest.mark.parametrize("seed", [1, 2])
def test_broken_images_over_http_never_cause_an_internal_error(stack: Stack, seed: int) -> None:
    http, files = create_app(stack.settings).test_client(), mutate(random.Random(seed))
    for _ in range(OVER_HTTP):
        data = next(files)
        answer = http.post("/v1/images", data={"file": (io.BytesIO(data), "image")})
        assert answer.status_code in (201, 413, 415, 422), (answer.status_code, answer.get_data(), data[:80])
