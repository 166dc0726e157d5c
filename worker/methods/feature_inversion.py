"""`feature_inversion`: a picture made again from what a layer said of it, which shows what the layer knows."""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from shared.jobs import Progress
from shared.methods import FeatureInversion
from shared.parameters.feature_inversion import FeatureInversionParameters
from worker.climbing import Climbed, climb, save_ascent, wants_extras
from worker.engine.ascent import Ascent, Slot
from worker.engine.classifier import Classifier
from worker.engine.grid import spread_layers
from worker.engine.objective import FeatureMatch, Wanted
from worker.engine.prior import PowerSum, Prior, absolute_variation
from worker.engine.render import encode_png, flatten_channels, to_rgb
from worker.engine.spectrum import Fourier
from worker.engine.start import Normal
from worker.engine.transform import Chain
from worker.pairs import Pair, Pairs
from worker.pool import Run
from worker.preprocess import to_tensor
from worker.recipe import choose_optimizer, choose_schedule, write_pixels
from worker.recording import Recording, choose_frames
from worker.sheet import Sheet, finish
from worker.task import Task, choose_shown, file_name
from worker.view import open_view


def run(task: Task[FeatureInversion]) -> Run:
    """Climbs pictures times layers in batches; a picture's layers come side by side on the sheet."""
    params = task.request.params
    layers = params.layers or spread_layers(task.classifier, 4)
    opening = partial(open_view, preprocessing=choose_shown(task.release.preprocessing, params.view))
    pairs = Pairs(task, opening, at_once=max(1, task.batch // len(layers)))
    total = pairs.count() * len(layers) * params.steps
    extras = wants_extras(params.extras, pairs.count() * len(layers))
    found: list[dict[str, Any]] = []
    sheet = Sheet(task.show, columns=1 + len(layers))
    yield Progress(done=0, total=total, unit="step")
    for batch in pairs.read():
        done = len(found) * len(layers) * params.steps
        climbed, distances = yield from invert_batch(task, batch, layers, done, total, extras)
        for row, pair in enumerate(batch):
            places = range(row * len(layers), (row + 1) * len(layers))
            said = [
                save_layer(task, pair, layer, climbed.get(place), distances.get(place), sheet)
                for layer, place in zip(layers, places, strict=True)
            ]
            found.append({**pair.describe(), "layers": said})
            yield Progress(done=len(found) * len(layers) * params.steps, total=total, unit="step")
    return finish(task, pairs, sheet, {"pictures": found})


def invert_batch(
    task: Task[FeatureInversion], batch: Sequence[Pair], layers: Sequence[str], done: int, total: int, extras: bool
) -> Generator[Progress, None, tuple[dict[int, Climbed], dict[int, float]]]:
    """What came of every picture and layer, and how far its features are from those wanted; the layers go fastest."""
    params, climber = task.request.params, task.climber
    pictures = torch.stack([to_tensor(pair.view.levels) for pair in batch]).to(task.device)
    objective = FeatureMatch(read_wanted(climber, pictures, layers), relative=params.distance == "relative")
    slots = [Slot(place, params.seed, params.learning_rate, weigh(params)) for place in range(len(objective.wanted))]
    recording = Recording(choose_frames(params.steps, params.frames) if extras else None, None, show=task.show)
    ascents = [plan_ascent(climber, params, objective)]
    climbed = yield from climb(
        climber, ascents, slots, recording, at_once=task.batch, done=done, total=total, each=len(slots)
    )
    return climbed, measure_distances(task.classifier, pictures, layers, climbed)


def plan_ascent(classifier: Classifier, params: FeatureInversionParameters, objective: FeatureMatch) -> Ascent:
    """The ascent to the features wanted, less the priors."""
    image = Fourier(classifier.size) if params.image == "fourier" else write_pixels(classifier, "std")
    priors: list[Prior] = [absolute_variation]
    if params.alpha_norm is not None:
        priors.append(PowerSum(params.alpha_norm.alpha))
    return Ascent(
        steps=params.steps,
        image=image,
        size=classifier.size,
        start=Normal(params.start_scale),
        optimizer=choose_optimizer(params.optimizer, params.momentum),
        transform=Chain(classifier.size),
        objective=objective,
        priors=tuple(priors),
        schedule=choose_schedule(params.schedule, params.steps),
    )


def weigh(params: FeatureInversionParameters) -> tuple[float, ...]:
    """The priors' weights, as `plan_ascent` lists them."""
    return (params.total_variation, *([params.alpha_norm.weight] if params.alpha_norm else []))


@torch.no_grad()
def read_wanted(classifier: Classifier, pictures: Tensor, layers: Sequence[str]) -> list[Wanted]:
    """What the layers say of pictures (N, C, H, W), the layers of the first picture first."""
    seen = classifier.look(classifier.normalise(pictures), layers).activations
    return [Wanted(layer, seen[layer][row]) for row in range(len(pictures)) for layer in layers]


@torch.no_grad()
def measure_distances(
    classifier: Classifier, pictures: Tensor, layers: Sequence[str], climbed: dict[int, Climbed]
) -> dict[int, float]:
    """‖Φ(I) − Φ₀‖² / ‖Φ₀‖² of the pictures as they are saved, in float32: 0 where they say the same to the layer."""
    wanted = read_wanted(classifier, pictures, layers)
    distances = {}
    for place, one in climbed.items():
        layer, features = wanted[place].layer, wanted[place].features
        inputs = classifier.normalise(to_tensor(one.levels)[None].to(classifier.device))
        found = classifier.look(inputs, [layer]).activations[layer][0]
        distances[place] = float((found - features).square().sum() / features.square().sum().clamp_min(1e-12))
    return distances


def save_layer(
    task: Task[FeatureInversion], pair: Pair, layer: str, climbed: Climbed | None, distance: float | None, sheet: Sheet
) -> dict[str, Any]:
    """The files of one picture and layer, its cell of the contact sheet, and what is said of it."""
    if climbed is None or distance is None:
        detail = "the layer's features have no gradient by the picture; try another start_scale or learning_rate"
        return {"layer": layer, "error": detail}
    image = pair.picture.id
    stem = f"{image[:12]}-{file_name(layer)}"
    task.save(f"{stem}.png", encode_png(to_rgb(climbed.levels)), image=image)
    save_ascent(task.save, stem, climbed, image=image)
    sheet.add(pair, flatten_channels(pair.view.levels), [(to_rgb(climbed.levels), f"{layer} {distance:.3g}")])
    return {"layer": layer, "distance": distance, "steps": climbed.end.steps, "stopped": climbed.end.reason}
