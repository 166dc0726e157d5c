"""Carriers of a trigger search: the images of a job with their classes, or drawn images if it has none."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archetype.contract.job import Progress
from archetype.contract.parameters.inputs import ImageInput
from archetype.contract.request import Trigger
from shared.errors import InvalidRequest, Problem, Unavailable
from worker.engine.model.classifier import Classifier
from worker.engine.triggers.carriers import Carriers
from worker.inputs.predictions import score_views
from worker.inputs.preprocess import Levels
from worker.inputs.sources import InputImage
from worker.inputs.view import crop_levels
from worker.job.context import JobContext

MAX_CARRIERS = 200
"""Largest number of carriers; more do not change the result, and every measurement takes longer."""

DRAWN = 48
"""Number of drawn carriers of a job without images."""

GRAINS = (3, 6, 12)
"""Cells per side of drawn carriers: large and small shapes."""

AT_ONCE = 32
"""Images per pass when the carriers are classified."""


def load_carriers(context: JobContext[Trigger]) -> Generator[Progress, Any, Carriers]:
    """Loads the carriers of a job, on the device of its network.

    Raises:
        InvalidRequest: No image could be read.
        Unavailable: The store does not answer.
    """
    entries = context.images.entries
    if not entries:
        context.output.warn("the job has no images, so triggers were searched on drawn images; give images of the task")
        return label(context.classifier, draw_carriers(context.classifier), [])
    chosen = [entries[int(place)] for place in np.linspace(0, len(entries) - 1, min(MAX_CARRIERS, len(entries)))]
    views, targets = list[Levels](), list[int | None]()
    for number, entry in enumerate(chosen, 1):
        try:
            view, image = _read(context, entry)
        except Unavailable:
            raise
        except Problem as problem:
            context.output.warn(f"image {entry.name}: {problem.detail}")
            continue
        views.append(view)
        targets.append(context.release.resolve_target(image.targets[0], field="/images") if image.targets else None)
        yield Progress(done=number, total=len(chosen), unit="image")
    if not views:
        raise InvalidRequest("none of the images can be read, so triggers have nothing to be put on; give other images")
    return label(context.classifier, views, targets)


def _read(context: JobContext[Trigger], entry: InputImage) -> tuple[Levels, ImageInput]:
    data = entry.read()
    return crop_levels(context.images.decode(data), context.release.preprocessing), entry.identify(data)


def draw_carriers(classifier: Classifier) -> list[Levels]:
    """Draws smooth images of random colors (H, W, C), always the same ones."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for number in range(DRAWN):
        grain = GRAINS[number % len(GRAINS)]
        cells = torch.rand(1, classifier.channels, grain, grain, generator=generator)
        smooth = torch.nn.functional.interpolate(cells, classifier.size, mode="bicubic", align_corners=False)
        images.append((smooth[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
    return images


def label(classifier: Classifier, views: Sequence[Levels], targets: Sequence[int | None]) -> Carriers:
    """Puts images (H, W, C) on the device of the network; an image without a class has the predicted one.

    Args:
        classifier: The network.
        views: The images at its input size.
        targets: The class of each image; may be shorter than the images.
    """
    parts = [score_views(classifier, views[start : start + AT_ONCE]) for start in range(0, len(views), AT_ONCE)]
    predicted = torch.cat(parts).argmax(1)
    known = dict(enumerate(targets))
    labels = [known.get(row) for row in range(len(views))]
    chosen = [int(predicted[row]) if target is None else target for row, target in enumerate(labels)]
    return Carriers(to_images(views).to(classifier.device), torch.tensor(chosen, device=classifier.device))


def to_images(views: Sequence[Levels]) -> Tensor:
    """Converts images (H, W, C) to (N, C, H, W) in 0..1."""
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float() / 255
