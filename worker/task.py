"""What a method is given, and what it may do with it."""

import re
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from PIL import Image

from shared.catalogue import Release
from shared.jobs import Progress, TargetClass
from shared.methods import AnyRequest
from shared.pictures import decode_picture
from worker.engine.classifier import Classifier
from worker.sources import Entry


@dataclass(frozen=True)
class Judge:
    """A network that says what it sees in the result of another."""

    release: Release
    classifier: Classifier


def decode_anything(data: bytes) -> Image.Image:
    """A picture of any size."""
    return decode_picture(data, max_pixels=sys.maxsize)[0]


R = TypeVar("R", bound=AnyRequest)

Run = Generator[Progress, None, dict[str, Any]]
"""A method at work: it yields its progress between steps, where it may be stopped, and returns its metrics."""


class Save(Protocol):
    """Stores one artefact of the job."""

    def __call__(
        self, name: str, data: bytes, *, target: TargetClass | None = None, image: str | None = None
    ) -> None: ...


@dataclass(frozen=True)
class Task(Generic[R]):
    """One job, ready to be worked on.

    Attributes:
        targets: Class indices; None where the model says which, picture by picture.
        classifier: The network in float32.
        climber: The network in the precision that is fastest here.
        batch: How many pictures it is fastest with at a time.
        judges: Networks that say what they see in the result.
        load_picture: Fetches and decodes an uploaded picture by its id.
        entries: The pictures to look at, not yet read.
        decode: Reads a picture from a file's bytes.
        save: Stores an artefact.
    """

    request: R
    release: Release
    targets: list[int] | None
    classifier: Classifier
    climber: Classifier
    batch: int
    judges: tuple[Judge, ...]
    load_picture: Callable[[str], Image.Image]
    save: Save
    entries: Sequence[Entry] = ()
    decode: Callable[[bytes], Image.Image] = decode_anything

    @property
    def device(self) -> torch.device:
        return self.classifier.device

    def target(self, index: int) -> TargetClass:
        """The class of an index with its name."""
        return TargetClass(index=index, name=self.release.classes[index])


def file_stem(target: TargetClass) -> str:
    """A file name for a class: `0951-lemon`."""
    return f"{target.index:04d}-{re.sub(r'[^a-z0-9]+', '-', target.name.lower()).strip('-')[:60] or 'class'}"
