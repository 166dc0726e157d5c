"""Decodes images and lists archives in child processes with limits, a fair number at a time for each tenant."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from archetype.contract.problem import FieldError
from shared.errors import Problem, TooLarge, Unavailable, UnreadableImage
from shared.isolation.child import Limit, Limits, TaskFailed
from shared.isolation.frames import Frame
from shared.isolation.places import Places
from shared.isolation.pool import ChildPool
from shared.media.array import MAX_CHANNELS
from shared.media.image import ImageFacts, expand_gray

PROCESS = "shared.media.decoder_process"

MAX_WAITING = 16
"""Requests of one tenant that wait for a decoder."""

MIN_SECONDS = 1
"""Time that is left at least for a file after it has waited."""

PROBLEMS: dict[str, type[Problem]] = {kind.__name__: kind for kind in (UnreadableImage, TooLarge)}
"""Problems that a child may report."""

KINDS = {"uint8": np.uint8, "uint16": np.uint16, "float32": np.float32}
"""Types of pixels that a child may return."""

MAX_VALUE_BYTES = 4


class Decoder:
    """Decodes untrusted files."""

    def __init__(self, limits: Limits, *, number: int) -> None:
        """Creates a decoder whose processes start when they are needed.

        Args:
            limits: Limits of each child process; the time on the clock includes that for which a file waits.
            number: How many child processes work at the same time.
        """
        self.limits = limits
        self._places = Places(number, waiting=MAX_WAITING, name="files that are decoded")
        self._pool = ChildPool(PROCESS, limits)

    def describe_image(self, data: bytes, *, max_pixels: int, tenant: str) -> ImageFacts:
        """Decodes an image for its facts alone; raises as `decode_image`."""
        answer = self._carry_out("describe", Frame({"max_pixels": max_pixels}, data), tenant)
        return _read_facts(answer, max_pixels)

    def describe_file(self, file: IO[bytes], *, max_pixels: int, tenant: str) -> ImageFacts:
        """Decodes an image for its facts alone, from a file with a descriptor; raises as `decode_image`."""
        answer = self._carry_out("describe", Frame({"max_pixels": max_pixels}, file=_find_descriptor(file)), tenant)
        return _read_facts(answer, max_pixels)

    def decode_image(self, data: bytes, *, max_pixels: int, tenant: str) -> tuple[NDArray[Any], ImageFacts]:
        """Decodes an image as `shared.media.image.decode_image` does.

        Raises:
            UnreadableImage: The file is empty, truncated, damaged or of an unknown format.
            TooLarge: The image has too many pixels, or needs more memory or time than a file may have.
            LimitReached: The tenant has too many files that are decoded at the moment.
            Unavailable: All tenants together have too many.
        """
        largest = max_pixels * MAX_CHANNELS * MAX_VALUE_BYTES
        answer = self._carry_out("decode", Frame({"max_pixels": max_pixels}, data), tenant, max_data=largest)
        facts = _read_facts(answer, max_pixels)
        return expand_gray(_read_values(answer), facts), facts

    def count_images(self, file: IO[bytes], *, tenant: str) -> int:
        """Returns the number of images in a ZIP archive, whose file has a descriptor; raises as `decode_image`."""
        answer = self._carry_out("count", Frame({}, file=_find_descriptor(file)), tenant)
        with _checked():
            return int(answer.document["images"])

    def close(self) -> None:
        """Ends the processes."""
        self._pool.close()

    def _carry_out(self, task: str, frame: Frame, tenant: str, *, max_data: int = 0) -> Frame:
        deadline = time.monotonic() + self.limits.seconds
        with self._places.hold(tenant, deadline - MIN_SECONDS):
            try:
                answer = self._pool.carry_out(task, frame, max_data=max_data, deadline=deadline)
            except TaskFailed as failure:
                raise explain(failure.limit, self.limits) from failure
        if "problem" in answer.document:
            with _checked():
                raise _read_problem(answer)
        return answer


def explain(limit: Limit, limits: Limits) -> Problem:
    """The problem of a file with which a child exceeded a limit."""
    match limit:
        case Limit.MEMORY:
            allowed = f"{limits.memory // 1_000_000} MB of memory"
            return _too_large(f"decoding the file needs more than {allowed}", allowed)
        case Limit.CPU:
            allowed = f"{limits.cpu_seconds:g} seconds of CPU time"
            return _too_large(f"decoding the file needs more than {allowed}", allowed)
        case Limit.TIME:
            return Unavailable(
                f"decoding the file took longer than {limits.seconds:g} seconds, because it is large or the service is "
                "busy; try again in some seconds, or send a smaller file"
            )
    field = FieldError(field="file", detail="the decoder crashed", allowed="a file that can be decoded")
    return UnreadableImage("the decoder crashed on the file; save it again with another program", field)


def _too_large(detail: str, allowed: str) -> TooLarge:
    field = FieldError(field="file", detail=detail, allowed=allowed)
    return TooLarge(f"{detail}; send a smaller file, or an image that is saved as plain JPEG or PNG", field)


def _find_descriptor(file: IO[bytes]) -> int:
    number = file.fileno()  # this moves the file to the disk if it is in memory
    file.flush()
    return number


@contextmanager
def _checked() -> Iterator[None]:
    """Turns an answer that no sound child gives into a problem."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise explain(Limit.CRASH, Limits(0, 0, 0)) from error


def _read_facts(answer: Frame, max_pixels: int) -> ImageFacts:
    with _checked():
        facts = ImageFacts(**answer.document["facts"])
        if not 0 < facts.width * facts.height <= max_pixels or not 0 < facts.channels <= MAX_CHANNELS:
            raise ValueError("impossible sizes")
        return facts


def _read_values(answer: Frame) -> NDArray[Any]:
    with _checked():
        height, width, channels = answer.document["shape"]
        return np.frombuffer(answer.data, KINDS[answer.document["kind"]]).reshape(height, width, channels)


def _read_problem(answer: Frame) -> Problem:
    document = answer.document
    errors = [FieldError.model_validate(error) for error in document["errors"]]
    return PROBLEMS[document["problem"]](str(document["detail"]), *errors)
