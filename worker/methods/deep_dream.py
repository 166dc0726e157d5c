"""`deep_dream`: a picture with more of what a layer, a channel or a class sees in it."""

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from shared.jobs import Progress
from shared.methods import DeepDream
from shared.parameters import deep_dream
from shared.parameters.deep_dream import DeepDreamParameters
from worker.climbing import Climbed, climb, save_ascent, wants_extras
from worker.engine import bound, objective
from worker.engine.ascent import Ascent, Slot
from worker.engine.classifier import Classifier, takes
from worker.engine.grid import list_layers
from worker.engine.render import encode_png, flatten_channels, to_rgb
from worker.engine.start import Given
from worker.engine.transform import Chain, Roll, Size, Transform, fit
from worker.judgement import judge
from worker.pairs import Pair, Pairs
from worker.pool import Run
from worker.preprocess import to_tensor
from worker.recipe import choose_optimizer, choose_schedule, share_steps, write_pixels
from worker.recording import Recording, choose_frames
from worker.sheet import Sheet, finish
from worker.task import Task, file_name, file_stem
from worker.view import Opening, crop_levels, open_at, open_view

SMALLEST = 16
"""Pixels: no octave is smaller either way, unless the picture is."""


def run(task: Task[DeepDream]) -> Run:
    """Climbs pictures of one size together, from the smallest canvas to the largest."""
    params = task.request.params
    wish = choose_wish(task.climber, params)
    pairs = Pairs(task, choose_opening(task, params.side))
    count = pairs.count()
    extras = wants_extras(params.extras, count)
    found: list[dict[str, Any]] = []
    sheet = Sheet(task.show)
    yield Progress(done=0, total=count * params.steps, unit="step")
    for batch in pairs.read():
        for group in group_by_size(batch, task):
            done, total = len(found) * params.steps, count * params.steps
            pictures = torch.stack([to_tensor(pair.view.levels) for pair in group])
            climbed = yield from dream(task, group, pictures, wish, done, total, extras)
            values = measure(task.classifier, wish, pictures, group, climbed)
            for row, pair in enumerate(group):
                found.append(save_pair(task, pair, wish, climbed.get(row), values.get(row), sheet))
                yield Progress(done=len(found) * params.steps, total=count * params.steps, unit="step")
    return finish(task, pairs, sheet, {"pairs": found})


def choose_opening(task: Task[DeepDream], side: int | None) -> Opening:
    """How pictures become what is dreamt on: whole, or as the network sees them."""
    preprocessing = task.release.preprocessing
    return (
        partial(open_view, preprocessing=preprocessing)
        if side is None
        else partial(open_at, preprocessing=preprocessing, longest=side)
    )


def choose_wish(classifier: Classifier, params: DeepDreamParameters) -> objective.Objective:
    """What is raised; without a layer, the norm of one that sees parts of things, four fifths in."""
    match params.objective:
        case deep_dream.ClassScore():
            return objective.ClassScore()
        case deep_dream.Channel():
            return objective.Channel(params.objective.layer, params.objective.channel)
    layers = [] if params.objective.layer else list(list_layers(classifier))
    if not params.objective.layer and not layers:
        raise ValueError("no layer of the network gives features with places; name one in objective")
    return objective.LayerNorm(params.objective.layer or layers[len(layers) * 4 // 5])


def group_by_size(pairs: Sequence[Pair], task: Task[DeepDream]) -> Iterator[list[Pair]]:
    """Pairs whose pictures have the same size, in their order; of large ones as many as take the memory of a batch."""
    for (height, width, _), group in groupby(pairs, key=lambda pair: pair.view.levels.shape):
        same, size = list(group), task.climber.size
        most = max(1, round(task.batch * size[0] * size[1] / (height * width)))
        yield from (same[start : start + most] for start in range(0, len(same), most))


def dream(
    task: Task[DeepDream],
    group: Sequence[Pair],
    pictures: Tensor,
    wish: objective.Objective,
    done: int,
    total: int,
    extras: bool,
) -> Generator[Progress, None, dict[int, Climbed]]:
    """What came of each pair, by its place in the group."""
    params, climber = task.request.params, task.climber
    ascents = plan_ascents(climber, params, pictures, wish)
    slots = [Slot(pair.target, params.seed, params.learning_rate) for pair in group]
    recording = Recording(choose_frames(params.steps, params.frames) if extras else None, None, show=task.show)
    return (
        yield from climb(
            climber, ascents, slots, recording, at_once=task.batch, done=done, total=total, each=len(group),
            pictures=pictures,
        )
    )  # fmt: skip


def plan_ascents(
    classifier: Classifier, params: DeepDreamParameters, pictures: Tensor, wish: objective.Objective
) -> list[Ascent]:
    """One ascent per octave of pictures (N, C, H, W), from the smallest canvas to the largest."""
    steps = share_steps(params.steps, params.octaves)
    full = (pictures.shape[2], pictures.shape[3])
    ascents = []
    for octave, share in enumerate(steps):
        smaller = params.octave_scale ** (len(steps) - 1 - octave)
        size = (
            max(min(SMALLEST, full[0]), round(full[0] / smaller)),
            max(min(SMALLEST, full[1]), round(full[1] / smaller)),
        )
        ascents.append(
            Ascent(
                steps=share,
                image=write_pixels(classifier, params.unit),
                size=size,
                start=Given(fit(pictures, size)),
                optimizer=choose_optimizer(params.optimizer, params.momentum),
                transform=choose_transform(classifier, size, params.jitter),
                objective=wish,
                schedule=choose_schedule(params.schedule, share),
                bounds=(bound.clip,) if params.clip else (),
                restarts=0,
            )
        )
    return ascents


def choose_transform(classifier: Classifier, size: Size, jitter: int) -> Transform:
    """All of the canvas where the network takes its size, else windows of the network's size all over it."""
    if takes(classifier, size):
        return Roll(size, min(jitter, max(size)))
    if size[0] >= classifier.size[0] and size[1] >= classifier.size[1]:
        return Roll(classifier.size, max(size))
    return Chain(classifier.size)


@torch.no_grad()
def measure(
    classifier: Classifier,
    wish: objective.Objective,
    pictures: Tensor,
    group: Sequence[Pair],
    climbed: dict[int, Climbed],
) -> dict[int, tuple[float, float]]:
    """What was raised, of the picture and of the dream as it is saved; at the network's size if it takes no other."""
    size = (pictures.shape[2], pictures.shape[3])
    size = size if takes(classifier, size) else classifier.size
    values = {}
    for row, one in climbed.items():
        both = fit(torch.stack([pictures[row], to_tensor(one.levels)]).to(classifier.device), size)
        targets = torch.full((2,), group[row].target, device=classifier.device)
        before, after = wish(classifier.look(classifier.normalise(both), wish.layers), targets).tolist()
        values[row] = before, after
    return values


def save_pair(
    task: Task[DeepDream],
    pair: Pair,
    wish: objective.Objective,
    climbed: Climbed | None,
    values: tuple[float, float] | None,
    sheet: Sheet,
) -> dict[str, Any]:
    """The files of one pair, its cell of the contact sheet, and what is said of it."""
    target = task.target(pair.target) if task.targets is not None else None
    image = pair.picture.id
    (layer,) = wish.layers or {""}
    said = {**pair.describe(target), **({"layer": layer} if layer else {})}
    if climbed is None or values is None:
        return {**said, "error": "what was to be raised has no gradient at this picture; try another layer"}
    stem = f"{image[:12]}-{file_stem(target) if target else file_name(layer)}"
    task.save(f"{stem}.png", encode_png(to_rgb(climbed.levels)), target=target, image=image)
    save_ascent(task.save, stem, climbed, target=target, image=image)
    view = crop_levels(climbed.levels, task.release.preprocessing)
    (verdict,) = judge(task.classifier, task.release, [view], [pair.target])
    label = f"{target.name} {verdict['probability']:.0%}" if target else layer
    sheet.add(pair, flatten_channels(pair.view.levels), [(to_rgb(climbed.levels), label)])
    return {**said, "before": values[0], "after": values[1], "steps": climbed.end.steps, "verdict": verdict}
