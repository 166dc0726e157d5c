"""`class_model`: the picture that a class score likes best."""

import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture

from shared.errors import DeadTarget, Problem
from shared.jobs import Progress
from shared.methods import ClassModel, ClassModelParameters
from worker.engine.ascend import Ascent, Step, ascend
from worker.engine.classifier import Classifier
from worker.engine.image import BoundedPixels, Fourier, Image, Pixels
from worker.engine.optimizer import SGD, Adam
from worker.engine.render import arrange, encode_png, render_contact_sheet, to_pixels
from worker.engine.start import Start, start_colour, start_noise, start_zero
from worker.engine.transform import Whole, Window
from worker.judgement import judge
from worker.preprocess import crop_view
from worker.task import Run, Task, file_stem

BATCH = 16
"""Targets that climb together. More gain nothing on a CPU, and fit any GPU's memory at usual sizes."""

FLAT = 2.0
"""A picture whose pixels vary by less (standard deviation, of 255) shows nothing."""

Views = dict[int, NDArray[np.uint8]]


def run(task: Task[ClassModel]) -> Run:
    """Climbs every target, in batches; then judges, saves and tiles what came out."""
    targets = task.targets or []
    batches = [targets[start : start + BATCH] for start in range(0, len(targets), BATCH)]
    steps = task.request.params.steps
    views: Views = {}
    for number, batch in enumerate(batches):
        yield Progress(done=number * steps, total=len(batches) * steps, unit="step")
        for step in ascend(task.classifier, plan_ascent(task.classifier, batch, task.request.params)):
            yield Progress(done=number * steps + step.index, total=len(batches) * steps, unit="step")
        views |= keep_living(batch, step, task)
    metrics = measure(task, targets, views)
    for _ in save_all(task, views, metrics):
        yield Progress(done=len(batches) * steps, total=len(batches) * steps, unit="step")
    return {"targets": metrics}


def plan_ascent(classifier: Classifier, targets: Sequence[int], params: ClassModelParameters) -> Ascent:
    """The request's parameters in the engine's words. Each target's seed follows from the job's and its class."""
    size = choose_canvas(classifier, params)
    image = write_down(classifier, params)
    colour = partial(start_colour, image=image, colour=classifier.mean.cpu(), size=size)
    starts: dict[str, Start] = {"zero": start_zero, "noise": start_noise, "mean": colour}
    return Ascent(
        targets=targets,
        seeds=[params.seed * 100_003 + target for target in targets],
        steps=params.steps,
        rates=[params.learning_rate] * len(targets),
        l2=[params.l2] * len(targets),
        image=image,
        size=size,
        transform=Whole() if params.whole else Window(classifier.size, params.scale, params.rotation),
        start=starts[params.start],
        optimizer=Adam.start if params.optimizer == "adam" else lambda _: SGD(),
    )


def choose_canvas(classifier: Classifier, params: ClassModelParameters) -> tuple[int, int]:
    """Height and width of the pictures in pixels."""
    height, width = classifier.size
    if params.canvas is not None:
        return params.canvas
    # An eighth more, as photographs are kept at 256 px for networks of 224: a window needs room to move in.
    return (height, width) if params.whole else (round(height * 8 / 7), round(width * 8 / 7))


def write_down(classifier: Classifier, params: ClassModelParameters) -> Image:
    """How the request wants pictures to be written down."""
    if params.image == "fourier":
        return Fourier(choose_canvas(classifier, params))
    if params.image == "bounded":
        return BoundedPixels()
    return Pixels(classifier.mean if params.add_mean else torch.zeros_like(classifier.mean))


def keep_living(targets: Sequence[int], step: Step, task: Task[ClassModel]) -> Views:
    """The pictures as they are saved, of the targets that came to something."""
    pictures = write_down(task.classifier, task.request.params).picture(step.parameters)
    dead = step.dead | ~pictures.flatten(1).isfinite().all(1)
    views = {
        target: to_pixels(picture) for target, picture, over in zip(targets, pictures, dead, strict=True) if not over
    }
    return {target: view for target, view in views.items() if view.std() >= FLAT}


def measure(task: Task[ClassModel], targets: Sequence[int], views: Views) -> list[dict[str, Any]]:
    """What the network says of each picture, or why a target has none.

    Raises:
        DeadTarget: None of the targets has a picture.
    """
    if not views:
        raise _dead(task, targets)
    verdicts: dict[int, dict[str, Any]] = {}
    living = list(views)
    for start in range(0, len(living), BATCH):
        batch = living[start : start + BATCH]
        seen = [crop_view(Picture.fromarray(views[target]), task.release.preprocessing) for target in batch]
        judged = judge(task.classifier, task.release, seen, batch)
        verdicts |= dict(zip(batch, judged, strict=True))
    return [
        {"target": task.target(target).model_dump()}
        | (verdicts.get(target) or {"error": _dead(task, [target]).document.model_dump()})
        for target in targets
    ]


def save_all(task: Task[ClassModel], views: Views, metrics: list[dict[str, Any]]) -> Iterator[None]:
    """A PNG per target, a contact sheet of them all, and the metrics as a file; yields after each."""
    cells = []
    for measured in metrics:
        target = task.target(measured["target"]["index"])
        if target.index in views:
            view = views[target.index]
            task.save(f"{file_stem(target)}.png", encode_png(view), target=target)
            cells.append((view, f"{target.name} {measured['probability']:.0%}"))
            yield
    rows = math.ceil(len(cells) / (8 if len(cells) <= 64 else 25))
    columns = math.ceil(len(cells) / rows)
    sheet = render_contact_sheet(arrange(cells, columns), side=max(96, min(224, 2400 // columns)))
    task.save("contact-sheet.png", encode_png(sheet))
    task.save("metrics.json", json.dumps({"targets": metrics}, indent=1).encode())


def _dead(task: Task[ClassModel], targets: Sequence[int]) -> Problem:
    names = ", ".join(task.release.classes[target] for target in targets[:5])
    return DeadTarget(
        f"the score of {names} has no gradient, or the ascent left a flat picture; "
        "try start 'noise', a larger learning_rate or a smaller l2"
    )
