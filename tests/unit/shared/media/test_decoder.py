"""Images and archives that would take too much memory or time fail alone, with a problem that names the limit."""

import io
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from shared.errors import Problem, TooLarge, Unavailable, UnreadableImage
from shared.isolation.child import Limits
from shared.isolation.frames import Frame
from shared.media.decoder import Decoder, _read_facts, _read_problem, _read_values
from shared.media.image import decode_image
from tests.support.hostile_files import make_array, make_huge_png, make_slow_jpeg, make_wide_tiff, make_zip

MAX_PIXELS = 50_000_000
SMALL = Limits(memory=200_000_000, cpu_seconds=1, seconds=100)


@pytest.fixture(scope="module")
def small() -> Iterator[Decoder]:
    """A decoder with little memory and little CPU time."""
    decoder = Decoder(SMALL, number=2)
    yield decoder
    decoder.close()


def encode(values: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def describe(decoder: Decoder, data: bytes, tenant: str = "a") -> object:
    return decoder.describe_image(data, max_pixels=MAX_PIXELS, tenant=tenant)


COLORS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
ARRAY = io.BytesIO()
np.save(ARRAY, COLORS[..., :1].repeat(5, 2).astype(np.float32))


@pytest.mark.parametrize(
    "data",
    [encode(COLORS), encode(COLORS[..., 0]), encode(COLORS[..., 0].astype(np.uint16) * 200), ARRAY.getvalue()],
    ids=["color", "gray", "16 bits", "array"],
)
def test_an_image_is_decoded_as_in_the_process_itself(small: Decoder, data: bytes) -> None:
    values, facts = small.decode_image(data, max_pixels=MAX_PIXELS, tenant="a")
    expected, expected_facts = decode_image(data, max_pixels=MAX_PIXELS)
    assert facts == expected_facts
    assert values.dtype == expected.dtype
    assert np.array_equal(values, expected)
    assert describe(small, data) == expected_facts


@pytest.mark.parametrize("make", [make_huge_png, make_wide_tiff])
def test_an_image_that_needs_too_much_memory_is_refused_with_the_limit(small: Decoder, make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TooLarge, match="more than 200 MB of memory"):
        describe(small, make())
    assert describe(small, encode(COLORS))


def test_an_image_that_needs_too_much_time_is_refused_with_the_limit(small: Decoder) -> None:
    with pytest.raises(TooLarge, match="more than 1 seconds of CPU time"):
        describe(small, make_slow_jpeg(2500, scans=4000))
    assert describe(small, encode(COLORS))


def test_an_image_that_does_not_get_enough_of_the_cpu_can_be_sent_again() -> None:
    decoder = Decoder(Limits(memory=400_000_000, cpu_seconds=100, seconds=1.1), number=1)
    with pytest.raises(Unavailable, match="took longer than"):
        describe(decoder, make_slow_jpeg())


@pytest.mark.parametrize("shape", ["(10**9, 10**9)", "(1000000000, 1000000000)", "(7000, 7000, 16)", "-1"])
def test_an_array_that_claims_to_be_large_is_refused(small: Decoder, shape: str) -> None:
    with pytest.raises(Problem) as problem:
        describe(small, make_array(shape))
    assert problem.value.status in (413, 422)


def test_slow_images_of_one_tenant_do_not_block_another() -> None:
    decoder = Decoder(Limits(memory=400_000_000, cpu_seconds=3, seconds=100), number=3)
    slow, fast = make_slow_jpeg(), encode(COLORS)
    describe(decoder, fast)
    with ThreadPoolExecutor(4) as threads:
        blocked = [threads.submit(describe, decoder, slow, "slow") for _ in range(3)]
        time.sleep(1)
        for _ in range(3):
            assert describe(decoder, fast, "other")
        assert not all(each.done() for each in blocked)  # two at a time, so that the third one comes later
    assert {type(each.exception()) for each in blocked} == {TooLarge}


def test_an_archive_in_memory_and_one_on_disk_are_counted(small: Decoder) -> None:
    for limit in (1, 1 << 20):
        with tempfile.SpooledTemporaryFile(max_size=limit) as file:
            file.write(make_zip())
            assert small.count_images(file, tenant="a") == 1


def test_an_archive_that_cannot_be_limited_is_refused(small: Decoder) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(make_zip(zipfile.ZIP_BZIP2))
        with pytest.raises(UnreadableImage, match="bzip2"):
            small.count_images(file, tenant="a")


FACTS = {"format": "PNG", "width": 2, "height": 2, "channels": 3, "white": None}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"facts": 1},
        {"facts": FACTS | {"more": 1}},
        {"facts": FACTS | {"width": -1}},
        {"facts": FACTS | {"width": 10**9}},
        {"facts": FACTS | {"channels": 10**6}},
        {"facts": FACTS | {"width": "2"}},
    ],
)
def test_facts_that_no_sound_decoder_returns_are_not_believed(document: dict[str, object]) -> None:
    with pytest.raises(UnreadableImage, match="crashed"):
        _read_facts(Frame(document), MAX_PIXELS)


@pytest.mark.parametrize(
    "document",
    [
        {"shape": [2, 2, 3], "kind": "object"},
        {"shape": [2, 2, 4], "kind": "uint8"},
        {"shape": [12], "kind": "uint8"},
        {"kind": "uint8"},
    ],
)
def test_pixels_that_no_sound_decoder_returns_are_not_believed(document: dict[str, object]) -> None:
    with pytest.raises(UnreadableImage, match="crashed"):
        _read_values(Frame(document, bytes(12)))


def test_a_problem_that_no_sound_decoder_returns_is_not_believed(small: Decoder) -> None:
    with pytest.raises(KeyError):
        _read_problem(Frame({"problem": "Forbidden", "detail": "", "errors": []}))
