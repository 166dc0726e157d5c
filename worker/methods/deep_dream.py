"""`deep_dream`: changes an image so that a layer, a channel or a class responds more strongly to it.

Gradient ascent from the image on L(x) = ‖Φ_l(x)‖₂, on the mean of a channel or on a class score, on octaves from a
small canvas to the full image; each octave brings back the detail that the smaller canvas has lost:

    x ← x + η · ∇ₓL(x) / mean|∇ₓL(x)|

Mordvintsev, Olah and Tyka 2015, "Inceptionism: Going Deeper into Neural Networks", Google Research blog.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from archetype.contract.parameters import deep_dream
from archetype.contract.parameters.deep_dream import DeepDreamParameters
from archetype.contract.request import DeepDream
from shared.media.artifact_names import file_name, file_stem
from worker.engine.ascent import constraints, objectives
from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.initial import Given
from worker.engine.ascent.octaves import SlotPlan
from worker.engine.ascent.transforms import Chain, Roll, Size, Transform, fit
from worker.engine.model.classifier import Classifier, accepts_size
from worker.engine.model.layer_choice import list_layers
from worker.engine.render import encode_png, flatten_channels, to_rgb
from worker.inputs.pairs import Pair, Pairs
from worker.inputs.predictions import predict
from worker.inputs.preprocess import Levels, to_tensor
from worker.inputs.view import OpenView, crop_levels, open_at, open_view
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext
from worker.optimization.ascent_builder import build_pixels, choose_optimizer, choose_schedule, plan_octaves
from worker.optimization.ascent_files import save_extras
from worker.optimization.optimize import AscentResult, NoResult, has_finite_scores
from worker.optimization.pair_ascents import PairAscents, PairOutput
from worker.output.job_results import JobResults, Part, finish

SMALLEST = 16
"""Smallest side of an octave in pixels, unless the image itself is smaller."""


def run(context: JobContext[DeepDream]) -> MethodRun:
    """Runs images of the same size together."""
    objective = choose_objective(context.fast_classifier, context.request.params)
    pairs = Pairs(context, choose_opening(context))
    ascents = PairAscents(context, pairs, context.fast_classifier)
    build, save = partial(build_plans, context, objective), partial(save_pair, context, objective)
    return (yield from ascents.run(build, save, split=partial(group_by_size, context)))


def gather(context: JobContext[DeepDream], parts: Iterable[Part]) -> dict[str, Any]:
    """Combines the results of all shards."""
    results = JobResults.of(parts)
    return finish(context, results, {"pairs": results.pairs})


def choose_opening(context: JobContext[DeepDream]) -> OpenView:
    """Chooses how images are opened: whole, or as the network sees them."""
    preprocessing, side = context.release.preprocessing, context.request.params.side
    if side is None:
        return partial(open_view, preprocessing=preprocessing)
    return partial(open_at, preprocessing=preprocessing, longest=side)


def choose_objective(classifier: Classifier, params: DeepDreamParameters) -> objectives.Objective:
    """Chooses what is maximized; without a layer, the norm of one four fifths in, which responds to parts of objects.

    Raises:
        ValueError: The request names no layer, and no layer of the network has places.
    """
    match params.objective:
        case deep_dream.ClassScore():
            return objectives.ClassScore()
        case deep_dream.Channel():
            return objectives.Channel(params.objective.layer, params.objective.channel)
    layers = [] if params.objective.layer else list(list_layers(classifier))
    if not params.objective.layer and not layers:
        raise ValueError("no layer of the network gives features with places; name one in objective")
    return objectives.LayerNorm(params.objective.layer or layers[len(layers) * 4 // 5])


def group_by_size(context: JobContext[DeepDream], pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Groups pairs, in their order, whose images have the same size; a group needs the memory of one batch at most."""
    for (height, width, _), same_size in groupby(pairs, key=lambda pair: pair.view.levels.shape):
        group, size = list(same_size), context.fast_classifier.size
        count = max(1, round(context.batch * size[0] * size[1] / (height * width)))
        yield from (group[start : start + count] for start in range(0, len(group), count))


def build_plans(
    context: JobContext[DeepDream], objective: objectives.Objective, pairs: Sequence[Pair]
) -> list[SlotPlan]:
    """Builds one slot per pair, with an ascent per octave."""
    params, plans = context.request.params, []
    for pair in pairs:
        image = to_tensor(pair.view.levels)
        slot = Slot(pair.target, params.seed, params.learning_rate)
        plans.append(SlotPlan(slot, build_ascents(context.fast_classifier, params, image, objective), image))
    return plans


def build_ascents(
    classifier: Classifier, params: DeepDreamParameters, image: Tensor, objective: objectives.Objective
) -> list[Ascent]:
    """Builds one ascent per octave of an image (C, H, W) in 0..1, from the smallest canvas to the largest."""
    canvas = (image.shape[1], image.shape[2])
    smallest = (min(SMALLEST, canvas[0]), min(SMALLEST, canvas[1]))
    return [
        Ascent(
            steps=steps,
            parameterization=build_pixels(classifier, params.unit),
            size=size,
            start=Given(fit(image[None], size)),
            optimizer=choose_optimizer(params.optimizer, params.momentum),
            transform=choose_transform(classifier, size, params.jitter),
            objective=objective,
            schedule=choose_schedule(params.schedule, steps),
            constraints=(constraints.clip,) if params.clip else (),
            restarts=0,
        )
        for size, steps in plan_octaves(canvas, params.steps, params.octaves, params.octave_scale, smallest)
    ]


def choose_transform(classifier: Classifier, size: Size, jitter: int) -> Transform:
    """Shows the network the whole canvas if it accepts this size, else random windows of the network's own size."""
    if accepts_size(classifier, size):
        return Roll(size, min(jitter, max(size)))
    if size[0] >= classifier.size[0] and size[1] >= classifier.size[1]:
        return Roll(classifier.size, max(size))
    return Chain(classifier.size)


@torch.no_grad()
def measure(classifier: Classifier, objective: objectives.Objective, pair: Pair, result: Levels) -> tuple[float, float]:
    """The objective of the pair's image and of its saved result (H, W, C).

    Both are shown at their own size if the network accepts it, else at the network's size.
    """
    images = torch.stack([to_tensor(pair.view.levels), to_tensor(result)]).to(classifier.device)  # (2, C, H, W)
    size = (images.shape[2], images.shape[3])
    inputs = classifier.normalize(fit(images, size if accepts_size(classifier, size) else classifier.size))
    targets = torch.full((2,), pair.target, device=classifier.device)
    before, after = objective(classifier.forward(inputs, objective.layers), targets).tolist()
    return before, after


def save_pair(
    context: JobContext[DeepDream],
    objective: objectives.Objective,
    pair: Pair,
    results: Sequence[AscentResult | NoResult],
) -> PairOutput:
    """Saves the files of a pair; its metrics, and its cell: the result."""
    (result,) = results
    target = context.target(pair.target) if context.targets is not None else None
    image, shown = pair.image.id, flatten_channels(pair.view.levels)
    (layer,) = objective.layers or {""}
    metrics: dict[str, Any] = {**pair.describe(target), **({"layer": layer} if layer else {})}
    dead = "the objective has no gradient at this image; try another layer"
    if isinstance(result, NoResult):
        return PairOutput(metrics | result.describe(dead), shown)
    before, after = measure(context.classifier, objective, pair, result.levels)
    view = crop_levels(result.levels, context.release.preprocessing)
    (prediction,) = predict(context.classifier, context.release, [view], [pair.target])
    if not (has_finite_scores(prediction) and math.isfinite(before) and math.isfinite(after)):
        return PairOutput(metrics | NoResult().describe(dead), shown)
    stem = f"{image[:12]}-{file_stem(target) if target else file_name(layer)}"
    context.save(f"{stem}.png", encode_png(to_rgb(result.levels)), target=target, image=image)
    save_extras(context.save, stem, result, target=target, image=image)
    label = context.label(target.index, prediction["probability"]) if target else layer
    metrics |= {"before": before, "after": after, "steps": result.end.steps, "verdict": prediction}
    return PairOutput(metrics, shown, [(to_rgb(result.levels), label)])
