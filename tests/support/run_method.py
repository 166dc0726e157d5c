"""Runs a method on a small network without a service around it, and keeps what it saves."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from archetype.contract.job import Artifact, Progress
from archetype.contract.model import Preprocessing
from archetype.contract.request import REQUEST
from shared.catalogue.release import Release
from shared.media.image import decode_image
from worker.engine.model.classifier import open_classifier
from worker.inputs.preprocess import Levels, to_levels
from worker.inputs.sources import InputImage
from worker.job.cobatch import BatchRequest, run_alone
from worker.job.context import ImageAccess, JobContext, ResumeState
from worker.methods.registry import METHODS
from worker.output.artifacts import AttemptOutput

CPU = torch.device("cpu")


@dataclass
class Result:
    """What a method made."""

    metrics: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    progress: list[Progress] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def pixels(self, name: str) -> Levels:
        """A saved picture (H, W, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.files[name])))

    def arrays(self, name: str) -> Any:
        """A saved `.npz` or `.npy`."""
        return np.load(io.BytesIO(self.files[name]))


def encode(levels: Levels) -> bytes:
    """The bytes of a PNG, or of an array where a PNG has no such channels."""
    buffer = io.BytesIO()
    if levels.shape[2] in (1, 3):
        Image.fromarray(levels.squeeze(2) if levels.shape[2] == 1 else levels).save(buffer, "PNG")
    else:
        np.save(buffer, levels)
    return buffer.getvalue()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Levels:
    """A picture of smooth noise (H, W, C)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (max(1, height // 4), max(1, width // 4), channels), np.uint8)
    planes = [np.asarray(Image.fromarray(plane).resize((width, height))) for plane in np.moveaxis(coarse, 2, 0)]
    return np.stack(planes, 2)


def work(network: nn.Module, body: dict[str, Any], pictures: Sequence[Levels] = (), **options: Any) -> Result:
    """Runs a request to its end; options as for `open_job`."""
    with open_job(network, body, pictures, **options) as (method, context):
        result = Result()
        shard = run_alone(method.run(context), result.progress.append)
        result.metrics = method.gather(context, [shard])
        result.warnings = context.output.warnings
        result.files = {name: context.save.store[key] for name, key in context.output.keys.items()}
    return result


def interrupt(network: nn.Module, body: dict[str, Any], *arguments: Any, after: int, **options: Any) -> bytes:
    """Runs a request until the batch request with this number, and stops; its checkpoint."""
    with open_job(network, body, *arguments, **options) as (method, context):
        run, answer = method.run(context), None
        while True:
            request = run.send(answer)
            if isinstance(request, BatchRequest):
                if after == 0:
                    checkpoint = request.checkpoint()
                    run.close()
                    return checkpoint
                after -= 1
            answer = request.executor.compute([request.payload])[0] if isinstance(request, BatchRequest) else None


@dataclass
class Save:
    """Stores files under the prefix of an attempt, as a worker does in its bucket.

    Attributes:
        store: The files of all attempts, by key.
    """

    store: dict[str, bytes]
    output: AttemptOutput
    attempt: str

    def __call__(self, name: str, data: bytes, **labels: Any) -> None:
        assert name not in self.output.keys
        self.output.keys[name] = f"{self.attempt}/{name}"
        self.store[f"{self.attempt}/{name}"] = data
        artifact = Artifact(name=name, media_type="", bytes=len(data), sha256="", href="", **labels)
        self.output.artifacts.append(artifact)


@contextmanager
def open_job(
    network: nn.Module,
    body: dict[str, Any],
    pictures: Sequence[Levels] = (),
    *,
    classes: int = 5,
    batch: int = 4,
    preprocessing: Preprocessing | None = None,
    checkpoint: bytes | None = None,
    store: dict[str, bytes] | None = None,
    attempt: str = "1",
) -> Iterator[tuple[Any, JobContext[Any]]]:
    """The module of a request's method and a context for it; `images` of the request are the pictures in their order.

    Args:
        network: The network.
        body: The request.
        pictures: The images (H, W, C).
        classes: Number of classes.
        batch: Places in a batch.
        preprocessing: Of the network; 16 x 16 pixels by default.
        checkpoint: Left by an earlier attempt.
        store: The files of earlier attempts.
        attempt: Prefix of the files of this attempt.
    """
    shape = preprocessing or Preprocessing(size=(16, 16))
    names = [f"class {number}" for number in range(classes)]
    release = Release(name="small", architecture="factory:small", classes=names, preprocessing=shape)
    stored = {f"{number:012x}".ljust(64, "0"): encode(levels) for number, levels in enumerate(pictures)}
    images = {"images": list(stored)} if pictures else {}
    request = REQUEST.validate_python({"model": "small@1", **images, **body})
    output = AttemptOutput()

    def decode(data: bytes) -> Levels:
        return to_levels(decode_image(data, max_pixels=10**8)[0], shape)[0]

    opened = open_classifier(
        network,
        mean=shape.levels_mean,
        std=shape.levels_std,
        size=shape.size,
        device=CPU,
        reverses_channels=shape.channel_order == "BGR",
    )
    with opened as classifier:
        wanted, named = request.classes, getattr(request, "pictures", [])
        targets = release.resolve_targets(wanted) if isinstance(wanted, list) else None
        context = JobContext(
            request=request, release=release,
            targets=targets, all_targets=targets or [],
            classifier=classifier, fast_classifier=classifier, batch=batch,
            save=Save({} if store is None else store, output, attempt), output=output,
            load_original=lambda: network,
            images=ImageAccess(
                [InputImage(image.id, image, partial(stored.__getitem__, image.id)) for image in named],
                load=lambda image: decode(stored[image]), decode=decode,
            ),
            resume=ResumeState("network", checkpoint),
        )  # fmt: skip
        yield METHODS[request.method], context
