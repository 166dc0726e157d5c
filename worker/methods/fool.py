"""`fool`: a picture changed, as little as need be, until the network takes it for something else."""

import io
from collections.abc import Generator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.jobs import Progress
from shared.methods import Fool
from shared.parameters import fool
from shared.parameters.fool import FoolParameters
from worker.climbing import Climbed, climb, save_ascent, wants_extras
from worker.engine import bound
from worker.engine.ascent import Ascent, Slot
from worker.engine.classifier import Classifier
from worker.engine.objective import ClassScore, LogProbability
from worker.engine.render import encode_png, render_contact_sheet, render_difference, to_rgb
from worker.engine.start import Given
from worker.engine.transform import Chain
from worker.judgement import judge
from worker.pairs import Pair, Pairs
from worker.pool import Run
from worker.preprocess import Levels, to_tensor
from worker.recipe import choose_optimizer, choose_schedule, write_pixels
from worker.recording import Recording, choose_frames
from worker.sheet import Sheet, finish
from worker.task import Task, file_stem
from worker.view import crop_levels, open_framed


def run(task: Task[Fool]) -> Run:
    """Climbs every pair of picture and target in full batches, each until its saved picture fools the network."""
    params = task.request.params
    pairs = Pairs(task, partial(open_framed, preprocessing=task.release.preprocessing))
    total = pairs.count()
    extras = wants_extras(params.extras, total)
    found: list[dict[str, Any]] = []
    sheet = Sheet(task.show)
    yield Progress(done=0, total=total * params.steps, unit="step")
    for batch in pairs.read():
        climbed = yield from change_batch(task, batch, len(found) * params.steps, total * params.steps, extras)
        for row, pair in enumerate(batch):
            found.append(save_pair(task, pair, climbed.get(row), sheet))
            yield Progress(done=len(found) * params.steps, total=total * params.steps, unit="step")
    summary = {name: sum(one.get(name, False) for one in found) / len(found) for name in ("fooled", "reached") if found}
    return finish(task, pairs, sheet, {"summary": summary, "pairs": found})


def change_batch(
    task: Task[Fool], batch: list[Pair], done: int, total: int, extras: bool
) -> Generator[Progress, None, dict[int, Climbed]]:
    """What came of each pair, by its place in the batch."""
    params = task.request.params
    # In float32, not as planned: what is measured is whether the picture fools the network as it is.
    ascent = plan_ascent(task.classifier, params, torch.stack([to_tensor(pair.view.levels) for pair in batch]))
    slots = [Slot(pair.target, params.seed, params.learning_rate) for pair in batch]
    recording = Recording(choose_frames(params.steps, params.frames) if extras else None, None, show=task.show)
    return (
        yield from climb(
            task.classifier, [ascent], slots, recording, at_once=task.batch, done=done, total=total, each=len(batch)
        )
    )


def plan_ascent(classifier: Classifier, params: FoolParameters, pictures: torch.Tensor) -> Ascent:
    """The ascent of the targets' scores from pictures (N, C, H, W), held within the bounds."""
    bounds: list[bound.Bound] = []
    match params.bound:
        case fool.LInf():
            bounds.append(bound.LInf(params.bound.radius))
        case fool.L2():
            bounds.append(bound.L2(params.bound.radius))
    return Ascent(
        steps=params.steps,
        image=write_pixels(classifier, params.unit),
        size=classifier.size,
        start=Given(pictures, params.noise),
        optimizer=choose_optimizer(params.optimizer, params.momentum),
        transform=Chain(classifier.size),
        objective=ClassScore() if params.objective == "score" else LogProbability(),
        schedule=choose_schedule(params.schedule, params.steps),
        origins=pictures,
        bounds=(*bounds, bound.clip) if params.clip else tuple(bounds),
        restarts=0,
        stop_probability=params.min_prob,
        look_every=params.look_every,
        as_saved=True,
    )


def save_pair(task: Task[Fool], pair: Pair, climbed: Climbed | None, sheet: Sheet) -> dict[str, Any]:
    """The files of one pair, its cells of the contact sheet, and what is said of it."""
    target, image = task.target(pair.target), pair.picture.id
    if climbed is None:
        detail = f"the score of {target.name} has no gradient at this picture; try noise, or another learning_rate"
        return {"image": image, "target": target.model_dump(), "error": detail}
    before, after = pair.view.put_back(pair.view.levels), pair.view.put_back(climbed.levels)
    said = judge_change(task, before, after, pair.target)
    amplify = task.request.params.amplify or choose_amplification(before, after)
    difference = to_rgb(render_difference(before, after, amplify))
    row = [
        (to_rgb(before), f"{said['before']['predicted']['name']} {said['before']['predicted']['probability']:.0%}"),
        (difference, f"difference x {amplify:.3g}"),
        (to_rgb(after), f"{said['after']['predicted']['name']} {said['after']['predicted']['probability']:.0%}"),
    ]
    stem = f"{image[:12]}-{file_stem(target)}"
    save = partial(task.save, target=target, image=image)
    save(f"{stem}.png", encode_png(to_rgb(after)))
    save(f"{stem}-difference.png", encode_png(difference))
    save(f"{stem}-side-by-side.png", encode_png(render_contact_sheet([row], side=320)))
    if after.shape[2] not in (1, 3):
        save(f"{stem}.npy", pack_levels(after))
    save_ascent(task.save, stem, climbed, target=target, image=image)
    sheet.add(pair, to_rgb(before), row[1:])
    end = {"steps": climbed.end.steps, "stopped": climbed.end.reason, "amplified": amplify}
    return {**pair.describe(target), **said["after"], **said, **end}


def judge_change(task: Task[Fool], before: Levels, after: Levels, target: int) -> dict[str, Any]:
    """What the network says of two saved pictures, shown them as it is shown any, and how far they are apart."""
    views = [crop_levels(levels, task.release.preprocessing) for levels in (before, after)]
    first, last = judge(task.classifier, task.release, views, [target, target])
    return {
        "before": first,
        "after": last,
        "fooled": last["rank"] == 1,
        "reached": last["probability"] > task.request.params.min_prob,
        "change": measure_change(before, after),
    }


def measure_change(before: Levels, after: Levels) -> dict[str, float]:
    """The largest change of a value, the root of the sum of all squares, and the mean, in units of the whole range."""
    change = np.abs(after.astype(np.float64) - before) / 255
    return {"linf": float(change.max()), "l2": float(np.sqrt(np.square(change).sum())), "mean": float(change.mean())}


def choose_amplification(before: Levels, after: Levels) -> float:
    """What makes the largest change as large as can be shown."""
    largest = float(np.abs(after.astype(np.float64) - before).max())
    return 127.5 / max(largest, 1.0)


def pack_levels(levels: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, C) as `.npy`, to be uploaded again."""
    buffer = io.BytesIO()
    np.save(buffer, levels, allow_pickle=False)
    return buffer.getvalue()
