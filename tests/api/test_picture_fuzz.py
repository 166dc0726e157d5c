"""Ten thousand pictures that are broken in some way: each is read or refused, and none costs memory that stays."""

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
from shared.pictures import decode_picture

COUNT, OVER_HTTP = 10_000, 400
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


def make_seeds() -> list[bytes]:
    """A small picture in every format, and as an array."""
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
    """A length or a size that cannot be."""
    data[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))


def cut_off(data: bytearray, place: int, _: random.Random) -> None:
    del data[place:]


def cut_out(data: bytearray, place: int, chance: random.Random) -> None:
    del data[place : place + chance.randrange(1, 64)]


def repeat(data: bytearray, place: int, chance: random.Random) -> None:
    data[place:place] = data[: chance.randrange(1, 64)]


def graft(data: bytearray, place: int, chance: random.Random) -> None:
    """The end of another file."""
    data[place:] = chance.choice(SEEDS)[place:]


SEEDS = make_seeds()
DAMAGES = (overwrite, exaggerate, cut_off, cut_out, repeat, graft)


def mutate(chance: random.Random) -> Iterator[bytes]:
    """Broken files, for ever."""
    while True:
        data = bytearray(chance.choice(SEEDS))
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            if data:
                chance.choice(DAMAGES)(data, chance.randrange(len(data)), chance)
        yield bytes(data or b"x")


def test_ten_thousand_broken_pictures_are_read_or_refused_and_leave_no_memory_behind() -> None:
    files = mutate(random.Random(7))
    read = refused = 0
    for number in range(COUNT):
        if number == COUNT // 4:  # codecs and caches are loaded by now
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            values, _ = decode_picture(next(files), max_pixels=1_000_000)
            assert values.ndim == 3
            read += 1
        except Problem as problem:
            refused += problem.status in (413, 415, 422)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert read > COUNT // 20
    assert refused == COUNT - read > COUNT // 5
    assert grown < 64_000, f"{grown} kB more"


@pytest.mark.parametrize("seed", [1, 2])
def test_broken_pictures_over_http_are_never_a_fault_of_the_service(stack: Stack, seed: int) -> None:
    http, files = create_app(stack.settings).test_client(), mutate(random.Random(seed))
    for _ in range(OVER_HTTP):
        data = next(files)
        answer = http.post("/v1/images", data={"file": (io.BytesIO(data), "picture")})
        assert answer.status_code in (201, 413, 415, 422), (answer.status_code, answer.get_data(), data[:80])
