"""`feature_inversion`: reconstructs an image from the features of a layer, which shows what the layer preserves.

Minimizes, from noise, the distance to the features Φ₀ of the image, plus regularizers:

    ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + λ_α · Σ|x|^α + λ_TV · Σ(|Δ↓x| + |Δ→x|)

Mahendran and Vedaldi 2014, "Understanding Deep Image Representations by Inverting Them" (arXiv 1412.0035), equation 1
and section 3. The total variation here is the anisotropic one of timm-vis.
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from archetype.contract.parameters.feature_inversion import FeatureInversionParameters
from archetype.contract.request import FeatureInversion
from shared.media.artifact_names import file_name
from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.fourier import Fourier
from worker.engine.ascent.initial import Normal
from worker.engine.ascent.objectives import FeatureMatch, FeatureTarget
from worker.engine.ascent.octaves import SlotPlan
from worker.engine.ascent.regularizers.image import PowerSum, Regularizer, absolute_variation
from worker.engine.ascent.transforms import Chain
from worker.engine.model.classifier import Classifier
from worker.engine.model.layer_choice import spread_layers
from worker.engine.render import encode_png, flatten_channels, to_rgb
from worker.inputs.pairs import Pair, Pairs
from worker.inputs.preprocess import Levels, to_tensor
from worker.inputs.view import apply_view_mode, open_view
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext
from worker.optimization.ascent_builder import build_pixels, choose_optimizer, choose_schedule
from worker.optimization.ascent_files import save_extras
from worker.optimization.optimize import AscentResult, NoResult
from worker.optimization.pair_ascents import PairAscents, PairOutput
from worker.output.contact_sheet import Cell
from worker.output.job_results import JobResults, Part, finish


def run(context: JobContext[FeatureInversion]) -> MethodRun:
    """Runs a slot for every image and layer; the results of an image's layers form a row of the contact sheet."""
    params = context.request.params
    layers = params.layers or spread_layers(context.classifier, 4)
    opening = partial(open_view, preprocessing=apply_view_mode(context.release.preprocessing, params.view))
    pairs = Pairs(context, opening, at_once=max(1, context.batch // len(layers)))
    ascents = PairAscents(context, pairs, context.fast_classifier, slots=len(layers))
    return (yield from ascents.run(partial(build_plans, context, layers), partial(save_image, context, layers)))


def gather(context: JobContext[FeatureInversion], parts: Iterable[Part]) -> dict[str, Any]:
    """Combines the results of all shards."""
    results = JobResults.of(parts)
    return finish(context, results, {"pictures": results.pairs})


def build_plans(context: JobContext[FeatureInversion], layers: Sequence[str], pairs: Sequence[Pair]) -> list[SlotPlan]:
    """Builds a slot per image and layer, the layers of the first image first."""
    params, classifier = context.request.params, context.fast_classifier
    images = torch.stack([to_tensor(pair.view.levels) for pair in pairs]).to(context.device)  # (N, C, H, W)
    objective = FeatureMatch(read_features(classifier, images, layers), relative=params.distance == "relative")
    ascents = [build_ascent(classifier, params, objective)]
    weights = list_weights(params)
    # The target of a slot is its position in `wanted`.
    slots = [Slot(position, params.seed, params.learning_rate, weights) for position in range(len(objective.wanted))]
    return [SlotPlan(slot, ascents) for slot in slots]


def build_ascent(classifier: Classifier, params: FeatureInversionParameters, objective: FeatureMatch) -> Ascent:
    """Builds the ascent towards the features, with regularizers."""
    regularizers: list[Regularizer] = [absolute_variation]
    if params.alpha_norm is not None:
        regularizers.append(PowerSum(params.alpha_norm.alpha))
    return Ascent(
        steps=params.steps,
        parameterization=Fourier(classifier.size) if params.image == "fourier" else build_pixels(classifier, "std"),
        size=classifier.size,
        start=Normal(params.start_scale),
        optimizer=choose_optimizer(params.optimizer, params.momentum),
        transform=Chain(classifier.size),
        objective=objective,
        regularizers=tuple(regularizers),
        schedule=choose_schedule(params.schedule, params.steps),
    )


def list_weights(params: FeatureInversionParameters) -> tuple[float, ...]:
    """The weights of the regularizers, in the order of `build_ascent`."""
    return (params.total_variation, *([params.alpha_norm.weight] if params.alpha_norm else []))


@torch.no_grad()
def read_features(classifier: Classifier, images: Tensor, layers: Sequence[str]) -> list[FeatureTarget]:
    """Reads the features of images (N, C, H, W) in 0..1, the layers of the first image first."""
    activations = classifier.forward(classifier.normalize(images), layers).activations
    return [FeatureTarget(layer, activations[layer][row]) for row in range(len(images)) for layer in layers]


@torch.no_grad()
def measure_distance(classifier: Classifier, layer: str, original: Levels, result: Levels) -> float:
    """‖Φ(x) − Φ₀‖² / ‖Φ₀‖² of an original and a saved result (H, W, C), in float32; 0 if the features are equal."""
    images = [to_tensor(levels)[None].to(classifier.device) for levels in (original, result)]
    (wanted,), (features,) = (read_features(classifier, image, [layer]) for image in images)
    distance = (features.features - wanted.features).square().sum()
    return float(distance / wanted.features.square().sum().clamp_min(1e-12))


def save_image(
    context: JobContext[FeatureInversion], layers: Sequence[str], pair: Pair, results: Sequence[AscentResult | NoResult]
) -> PairOutput:
    """Saves the files of an image; its metrics, and its cells: the result of each layer."""
    metrics, cells = [], []
    for layer, result in zip(layers, results, strict=True):
        layer_metrics, cell = save_layer(context, pair, layer, result)
        metrics.append(layer_metrics)
        cells += [cell] if cell else []
    return PairOutput({**pair.describe(), "layers": metrics}, flatten_channels(pair.view.levels), cells)


def save_layer(
    context: JobContext[FeatureInversion], pair: Pair, layer: str, result: AscentResult | NoResult
) -> tuple[dict[str, Any], Cell | None]:
    """Saves the files of an image and a layer; its metrics, and its cell unless there is no result."""
    dead = "the layer's features have no gradient with respect to the image; try another start_scale or learning_rate"
    if isinstance(result, NoResult):
        return {"layer": layer, **result.describe(dead)}, None
    distance = measure_distance(context.classifier, layer, pair.view.levels, result.levels)
    if not math.isfinite(distance):
        return {"layer": layer, **NoResult().describe(dead)}, None
    image = pair.image.id
    stem = f"{image[:12]}-{file_name(layer)}"
    context.save(f"{stem}.png", encode_png(to_rgb(result.levels)), image=image)
    save_extras(context.save, stem, result, image=image)
    metrics = {"layer": layer, "distance": distance, "steps": result.end.steps, "stopped": result.end.reason}
    return metrics, (to_rgb(result.levels), f"{layer} {distance:.3g}")
