"""Runs a method on a small network without a service around it, and keeps what it saves."""

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from shared.catalogue import Preprocessing, Release
from shared.jobs import Progress
from shared.methods import REQUEST
from shared.pictures import decode_picture
from worker.engine.classifier import open_classifier
from worker.pool import Run, Want
from worker.preprocess import Levels, to_levels
from worker.sources import Entry
from worker.task import Task

CPU = torch.device("cpu")


@dataclass
class Result:
    """What a method made."""

    metrics: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    progress: list[Progress] = field(default_factory=list)

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


def work(
    network: nn.Module,
    body: dict[str, Any],
    pictures: Sequence[Levels] = (),
    *,
    classes: int = 5,
    batch: int = 4,
    preprocessing: Preprocessing | None = None,
) -> Result:
    """Runs a request, `images` of which are the pictures in their order."""
    shape = preprocessing or Preprocessing(size=(16, 16))
    names = [f"class {number}" for number in range(classes)]
    release = Release(name="small", architecture="factory:small", classes=names, preprocessing=shape)
    stored = {f"{number:012x}".ljust(64, "0"): encode(levels) for number, levels in enumerate(pictures)}
    images = {"images": list(stored)} if pictures else {}
    request = REQUEST.validate_python({"model": "small@1", **images, **body})
    result = Result()

    def save(name: str, data: bytes, **_: Any) -> None:
        assert name not in result.files
        result.files[name] = data

    def decode(data: bytes) -> Levels:
        return to_levels(decode_picture(data, max_pixels=10**8)[0], shape)[0]

    opened = open_classifier(network, mean=shape.levels_mean, std=shape.levels_std, size=shape.size, device=CPU)
    with opened as classifier:
        wanted, named = request.classes, getattr(request, "pictures", [])
        targets = release.resolve_targets(wanted) if isinstance(wanted, list) else None
        task = Task(
            request=request, release=release,
            targets=targets, all_targets=targets or [],
            classifier=classifier, climber=classifier, batch=batch, judges=(),
            load_picture=lambda image: decode(stored[image]), decode=decode, save=save,
            load_original=lambda: network,
            entries=[Entry(one.id, one, partial(stored.__getitem__, one.id)) for one in named],
        )  # fmt: skip
        method = importlib.import_module(f"worker.methods.{request.method}")
        found = run_alone(method.run(task), result.progress)
        result.metrics = method.gather(task, [found]) if hasattr(method, "gather") else found
    return result


def run_alone(run: Run, progress: list[Progress]) -> dict[str, Any]:
    """What a method finds without company; its progress is added to a list."""
    answer = None
    while True:
        try:
            said = run.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = said.pool.compute([said.what])[0] if isinstance(said, Want) else None
        reported = said.progress if isinstance(said, Want) else said
        progress.extend([reported] if reported else [])
