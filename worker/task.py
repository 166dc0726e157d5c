"""What a method is given, and what it may do with it."""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from shared.catalogue import Preprocessing, Release
from shared.jobs import TargetClass
from shared.methods import AnyRequest
from shared.parameters.fields import Shown
from worker.audit.evidence import NOTHING, Evidence
from worker.engine.classifier import Classifier
from worker.engine.render import Pixels
from worker.preprocess import Levels
from worker.sources import Entry


@dataclass(frozen=True)
class Judge:
    """A network that says what it sees in the result of another."""

    release: Release
    classifier: Classifier


R = TypeVar("R", bound=AnyRequest)


class Save(Protocol):
    """Stores one artefact of the job."""

    def __call__(
        self, name: str, data: bytes, *, target: TargetClass | None = None, image: str | None = None
    ) -> None: ...


@dataclass(frozen=True)
class Task(Generic[R]):
    """One job, ready to be worked on.

    Attributes:
        targets: Class indices of this share; None where the model says which, picture by picture.
        all_targets: Those of the whole job.
        classifier: The network in float32.
        climber: The network in the precision that is fastest here.
        batch: How many pictures it is fastest with at a time.
        judges: Networks that say what they see in the result.
        load_picture: Fetches and decodes an uploaded picture (H, W, C) by its id.
        decode: Reads a picture (H, W, C) in the network's channels from a file's bytes.
        save: Stores an artefact.
        load_original: Reads the network again as the release's file has it, with nothing folded, on the CPU.
        entries: The pictures to look at, not yet read.
        key: What names the network and how it is run, for checkpoints.
        checkpoint: How far an earlier attempt had come, where one put anything away.
        evidence: What the jobs have made that this one comes after.
        show: Shows the newest pictures (H, W, 3) to those who follow the job.
        pool: What this job and others compute together, by its name; made if there is none yet.
    """

    request: R
    release: Release
    targets: list[int] | None
    classifier: Classifier
    climber: Classifier
    batch: int
    judges: tuple[Judge, ...]
    load_picture: Callable[[str], Levels]
    decode: Callable[[bytes], Levels]
    save: Save
    load_original: Callable[[], nn.Module]
    entries: Sequence[Entry] = ()
    all_targets: Sequence[int] = ()
    key: str = ""
    checkpoint: bytes | None = None
    evidence: Evidence = NOTHING
    show: Callable[[Sequence[Pixels]], None] = lambda _: None
    pool: Callable[[str, Callable[[], Any]], Any] = lambda _name, make: make()

    @property
    def device(self) -> torch.device:
        return self.classifier.device

    def target(self, index: int) -> TargetClass:
        """The class of an index with its name."""
        return TargetClass(index=index, name=self.release.classes[index])


def choose_shown(preprocessing: Preprocessing, view: Shown) -> Preprocessing:
    """How pictures become views, where a request may want the network to be shown all of them."""
    return preprocessing if view == "crop" else preprocessing.model_copy(update={"fit": "stretch", "resize": None})


def file_name(name: str) -> str:
    """A layer's name in a file's, another for every layer."""
    short = name.replace(".", "-")
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,80}", short) and "-" not in name
    return short if plain else f"{re.sub(r'[^A-Za-z0-9_-]', '-', short)[:60]}-{zlib.crc32(name.encode()):08x}"


def file_stem(target: TargetClass) -> str:
    """A file name for a class: `0951-lemon`."""
    return f"{target.index:04d}-{re.sub(r'[^a-z0-9]+', '-', target.name.lower()).strip('-')[:60] or 'class'}"
