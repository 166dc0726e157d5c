"""Decodes the images of jobs in a child process with limits on memory and time."""

from collections.abc import Callable
from functools import cache
from typing import Any

from numpy.typing import NDArray

from shared.errors import Problem, TooLarge, Unavailable
from shared.isolation.child import Limits, TaskFailed
from shared.media.decoder import Decoder
from shared.media.image import ImageFacts
from shared.settings import Settings

Decode = Callable[[bytes], tuple[NDArray[Any], ImageFacts]]
"""Decodes a file to pixels (H, W, C) and the facts about it; raises a `Problem`."""

MEMORY_FACTOR, TIME_FACTOR = 2.2, 2.5
"""How much more than on upload a file may need: here its pixels are kept, and what was accepted must not fail."""

SECONDS_PER_CPU_SECOND = 12
"""The clock of a worker whose cores are busy."""

MAX_FAILURES = 10
"""Images of a job that may exceed a limit of the decoder; after them, no image of the job is decoded."""


@cache
def _open(limits: Limits) -> Decoder:
    """Returns the decoder of this process."""
    return Decoder(limits, number=1)


def open_decoder(settings: Settings) -> Decode:
    """Returns a function that decodes the images of one job, in a child process that the jobs of this process share."""
    cpu_seconds = TIME_FACTOR * settings.decoder_seconds
    limits = Limits(int(MEMORY_FACTOR * settings.decoder_bytes), cpu_seconds, SECONDS_PER_CPU_SECOND * cpu_seconds)
    return JobDecoder(_open(limits), settings.max_image_pixels)


class JobDecoder:
    """Decodes the images of one job, and stops if too many exceed a limit: other jobs wait meanwhile."""

    def __init__(self, decoder: Decoder, max_pixels: int) -> None:
        self._decoder = decoder
        self._max_pixels = max_pixels
        self._failures = 0

    def __call__(self, data: bytes) -> tuple[NDArray[Any], ImageFacts]:
        """Decodes a file to pixels (H, W, C) and the facts about it.

        Raises:
            UnreadableImage: The file is empty, truncated, damaged or of an unknown format.
            TooLarge: The image is too large or needs too much memory or time, or too many images of the job did.
        """
        if self._failures >= MAX_FAILURES:
            raise TooLarge(
                f"{MAX_FAILURES} images of the job exceeded the memory or the time of the decoder, so that the others "
                "were not decoded; send smaller images, or images that are saved as plain JPEG or PNG"
            )
        try:
            return self._decoder.decode_image(data, max_pixels=self._max_pixels, tenant="")
        except Problem as problem:
            self._failures += isinstance(problem.__cause__, TaskFailed)
            if isinstance(problem, Unavailable):  # a job that is tried again would wait again
                raise TooLarge(problem.detail) from problem
            raise
