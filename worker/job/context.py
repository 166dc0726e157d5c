"""The context of a job: everything that a method needs to run one shard, and the functions it may call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from archetype.contract.job import TargetClass
from archetype.contract.request import AnyRequest
from shared.audits.searches import StoredSearches
from shared.catalogue.release import Release
from shared.queue.sharding import ImageRange
from worker.engine.model.classifier import Classifier
from worker.engine.render import RGBImage
from worker.inputs.preprocess import Levels
from worker.inputs.sources import InputImage
from worker.job.member_results import NO_MEMBERS, MemberResults
from worker.output.artifacts import AttemptOutput
from worker.output.labels import label_class


@dataclass(frozen=True)
class Evaluator:
    """A network that classifies the results of another network."""

    release: Release
    classifier: Classifier


R = TypeVar("R", bound=AnyRequest)


class Save(Protocol):
    """Stores one artifact of the job."""

    def __call__(self, name: str, data: bytes, *, target: TargetClass | None = None, image: str | None = None) -> None:
        """Stores the data under this file name, for a target class and an image id if it belongs to them."""


def load_nothing(image_id: str) -> Levels:
    """Loads images for a job that names none."""
    raise LookupError(f"this job has no image {image_id!r}")


def decode_nothing(_data: bytes) -> Levels:
    """Decodes images for a job that has none."""
    raise LookupError("this job has no images to decode")


@dataclass(frozen=True)
class ImageAccess:
    """How a method reads the images of its job.

    Attributes:
        entries: The images of the shard, not yet read.
        load: Loads an uploaded image by its id, as (H, W, C) in the channels of the network.
        decode: Decodes the bytes of a file to an image (H, W, C) in the channels of the network.
    """

    entries: Sequence[InputImage] = ()
    load: Callable[[str], Levels] = load_nothing
    decode: Callable[[bytes], Levels] = decode_nothing


@dataclass(frozen=True)
class ResumeState:
    """Where an ascent resumes.

    Attributes:
        key: Identifies the network and how it is run. A checkpoint with another key cannot be resumed.
        checkpoint: The newest checkpoint of an earlier attempt; None if there is none.
    """

    key: str = ""
    checkpoint: bytes | None = None


@dataclass(frozen=True)
class ShardPlace:
    """The place of a shard in its job.

    Attributes:
        number: Number of the shard.
        shards: Number of shards of the job.
        images: The images of the shard; None if they are all of the job's.
        pairs: Number of pairs of image and target of the job; None if the shard has all of them.
    """

    number: int = 0
    shards: int = 1
    images: ImageRange | None = None
    pairs: int | None = None


@dataclass(frozen=True)
class JobContext(Generic[R]):
    """One shard of a job, ready to run.

    Attributes:
        targets: Class indices of this shard; None if the network's predictions select them, image by image.
        all_targets: Class indices of the whole job.
        place: The place of this shard in its job.
        classifier: The network in float32.
        fast_classifier: The network in its fastest precision on this device.
        batch: The fastest batch size of the network on this device.
        evaluators: The networks that classify the results; the request names them as `judges`.
        save: Stores an artifact.
        output: What the attempt has stored so far, for checkpoints.
        show: Publishes the newest images (H, W, 3) as a preview of the job.
        executor: Returns the executor with this name, which the jobs of a lane share; makes it on the first call.
        images: Reads the images of the job.
        resume: Where an ascent resumes.
        load_original: Loads the network as its file defines it, without fused layers, on the CPU; for `filters`.
        member_results: Results of the member jobs; for `audit`.
        searches: Results of trigger searches that audits share; None if nothing is stored.
    """

    request: R
    release: Release
    targets: list[int] | None
    classifier: Classifier
    fast_classifier: Classifier
    batch: int
    save: Save
    load_original: Callable[[], nn.Module]
    all_targets: Sequence[int] = ()
    evaluators: tuple[Evaluator, ...] = ()
    place: ShardPlace = ShardPlace()
    images: ImageAccess = ImageAccess()
    resume: ResumeState = ResumeState()
    member_results: MemberResults = NO_MEMBERS
    searches: StoredSearches | None = None
    output: AttemptOutput = field(default_factory=AttemptOutput)
    show: Callable[[Sequence[RGBImage]], None] = lambda _: None
    executor: Callable[[str, Callable[[], Any]], Any] = lambda _name, make: make()

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.classifier.device

    def target(self, index: int) -> TargetClass:
        """Returns the class with this index, with its name."""
        return TargetClass(index=index, name=self.release.classes[index])

    def label(self, index: int, probability: float) -> str:
        """Returns the name of a class with its probability, as images show it."""
        return f"{label_class(self.release.class_names, index)} {probability:.0%}"
