"""The images of a job are decoded in a child process, and a job with many images over its limits does not go on."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from shared.errors import TooLarge, UnreadableImage
from shared.isolation.child import Limits
from shared.media.decoder import Decoder
from shared.settings import Settings
from tests.support.hostile_files import make_huge_png
from worker.inputs.decoding import MAX_FAILURES, JobDecoder, open_decoder


def encode(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


COLORS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(Limits(memory=200_000_000, cpu_seconds=30, seconds=300), number=1)
    yield decoder
    decoder.close()


def test_a_job_with_many_images_over_a_limit_does_not_go_on(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.inputs.decoding.MAX_FAILURES", 2)
    decode, huge, small = JobDecoder(decoder, 50_000_000), make_huge_png(), encode(COLORS)
    for _ in range(2):
        assert np.array_equal(decode(small)[0], COLORS)
        with pytest.raises(TooLarge, match="MB of memory"):
            decode(huge)
    with pytest.raises(TooLarge, match="2 images of the job"):
        decode(small)
    assert np.array_equal(JobDecoder(decoder, 50_000_000)(small)[0], COLORS)  # another job


def test_damaged_images_do_not_count_towards_that(decoder: Decoder) -> None:
    decode = JobDecoder(decoder, 50_000_000)
    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(UnreadableImage):
            decode(b"no image")
    assert np.array_equal(decode(encode(COLORS))[0], COLORS)


def test_a_job_may_use_more_memory_and_time_than_an_upload() -> None:
    settings = Settings()
    decode = open_decoder(settings)
    assert isinstance(decode, JobDecoder)
    assert decode._decoder.limits.memory > settings.decoder_bytes
    assert decode._decoder.limits.cpu_seconds > settings.decoder_seconds
