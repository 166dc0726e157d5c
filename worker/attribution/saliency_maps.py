"""Builds the function that computes saliency maps from the parameters of a request, and runs it on pairs."""

import io
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from archetype.contract.model import Preprocessing
from archetype.contract.parameters.saliency import KINDS_WITH_GRADIENTS, SaliencyParameters
from worker.engine.attribution.averaged_gradients import (
    integrated_gradients,
    integrated_gradients_from_noise,
    smoothgrad,
    times_input,
)
from worker.engine.attribution.cam.grad_cam import find_layer, grad_cam, layer_cam
from worker.engine.attribution.cam.score_cam import score_cam
from worker.engine.attribution.channels import reduce_channels
from worker.engine.attribution.gradient import gradient
from worker.engine.attribution.gradient_fn import GradientFn, in_microbatches
from worker.engine.attribution.guided_backprop import deconvnet, guided
from worker.engine.attribution.perturbation.kernel_shap import kernel_shap
from worker.engine.attribution.perturbation.occlusion import occlude
from worker.engine.attribution.perturbation.rise import rise
from worker.engine.attribution.ten_crop import MapOf, average_ten_crops
from worker.engine.model.classifier import Classifier, in_precision
from worker.inputs.pairs import Pair, PairReader, ScoreExecutor
from worker.inputs.preprocess import to_tensor
from worker.inputs.view import apply_view_mode
from worker.job.cobatch import BatchRequest
from worker.job.context import JobContext

LARGER = 8 / 7
"""Size of the view that ten crops are taken of, relative to the network's input: 256 for 224 pixels (Simonyan et al.
2013, arXiv 1312.6034, section 3)."""

GRADIENTS: dict[str, GradientFn] = {"gradient": gradient, "deconvnet": deconvnet, "guided": guided}


def choose_preprocessing(preprocessing: Preprocessing, params: SaliencyParameters) -> Preprocessing:
    """Chooses how images become the views that maps are computed of."""
    shown = apply_view_mode(preprocessing, params.view)
    if params.crops == 1:
        return shown
    larger: dict[str, Any] = {"size": (round(shown.size[0] * LARGER), round(shown.size[1] * LARGER))}
    if shown.resize is not None:
        larger["resize"] = round(shown.resize * LARGER)
    return shown.model_copy(update=larger)


def choose_map(classifier: Classifier, params: SaliencyParameters, at_once: int) -> MapOf:
    """Chooses the function from normalized inputs (N, C, H, W) and targets (N,) to maps (N, H, W).

    Args:
        classifier: The network.
        params: Parameters of the request.
        at_once: Maximum number of images in one pass through the network.

    Raises:
        ValueError: The network lacks what the kind needs: a ReLU, the layer, or a layer with places.
    """
    classifier = in_precision(classifier, getattr(torch, params.precision))
    if params.target_minus is not None:  # an index, because requests are checked before they run
        classifier = replace(classifier, minus=int(params.target_minus))
    map_of = _choose_kind(classifier, params, at_once)
    if params.crops == 1:
        return map_of
    return partial(average_ten_crops, map_of, size=classifier.size)


def map_pairs(classifier: Classifier, map_of: MapOf, pairs: list[Pair]) -> Tensor:
    """Computes the maps (N, H, W) of the views of pairs, on the CPU."""
    images = torch.stack([to_tensor(pair.view.levels) for pair in pairs]).to(classifier.device)
    targets = torch.tensor([pair.target for pair in pairs], device=classifier.device)
    return map_of(classifier.normalize(images), targets).float().cpu()


@dataclass(frozen=True)
class MapPool:
    """Executor that computes the maps of the pairs of several jobs as one batch."""

    classifier: Classifier
    map_of: MapOf

    def compute(self, wants: Sequence[list[Pair]]) -> list[Tensor]:
        """Computes the maps (N, H, W) of the pairs of each request, on the CPU."""
        maps = map_pairs(self.classifier, self.map_of, [pair for pairs in wants for pair in pairs])
        return list(maps.split([len(pairs) for pairs in wants]))


class MapReader:
    """Goes through the pairs of a shard, batch after batch, and computes their maps together with other shards."""

    def __init__(self, context: JobContext[Any], reading: PairReader) -> None:
        """Prepares the maps that the request asks for; raises `ValueError` as `choose_map` does."""
        classifier, params = context.classifier, context.request.params
        self._reading = reading
        self._scores = context.executor("scores", lambda: ScoreExecutor(classifier))
        self._maps = context.executor(
            "maps", lambda: MapPool(classifier, choose_map(classifier, params, context.batch))
        )

    def next(self) -> Generator[BatchRequest, Any, tuple[list[Pair], Tensor] | None]:
        """Returns the next batch and its maps (N, H, W), or None after the last batch."""
        batch = yield from self._reading.next(self._scores)
        return (batch, (yield BatchRequest(self._maps, batch))) if batch else None


def find_rule(params: SaliencyParameters) -> str | None:
    """The backpropagation rule of the maps, `deconvnet` or `guided`; None if they follow the gradient or use none."""
    rule = params.gradient if params.kind in KINDS_WITH_GRADIENTS else params.kind
    return rule if rule in ("deconvnet", "guided") else None


def _choose_kind(classifier: Classifier, params: SaliencyParameters, at_once: int) -> MapOf:
    match params.kind:
        case "grad_cam" | "layer_cam" as kind:
            cam = {"grad_cam": grad_cam, "layer_cam": layer_cam}[kind]
            return partial(_enlarged, partial(cam, classifier, layer=params.layer or find_layer(classifier)))
        case "score_cam":
            layer = params.layer or find_layer(classifier)
            return partial(_enlarged, partial(score_cam, classifier, layer=layer, at_once=at_once))
        case "occlusion":
            return partial(
                occlude, classifier, square=params.square, stride=params.stride, fill=params.fill, at_once=at_once
            )
        case "rise":
            return partial(
                rise, classifier, samples=params.masks, cells=params.cells, seed=params.seed, at_once=at_once
            )
        case "kernel_shap":
            shap = partial(kernel_shap, samples=params.masks, cells=params.cells, fill=params.fill, seed=params.seed)
            return partial(shap, classifier, at_once=at_once)
    return partial(_reduced, classifier, _choose_gradient(params, at_once), params)


def _choose_gradient(params: SaliencyParameters, at_once: int) -> GradientFn:
    # Split into parts innermost: when memory runs out, a single pass is too large.
    gradient_of = in_microbatches(GRADIENTS[params.gradient], at_once)
    match params.kind:
        case "gradient_x_input":
            return times_input(gradient_of)
        case "smoothgrad":
            return smoothgrad(
                gradient_of, samples=params.samples, deviation=params.noise, seed=params.seed, at_once=at_once
            )
        case "integrated_gradients":
            if params.baseline == "uniform":
                return integrated_gradients_from_noise(
                    gradient_of, steps=params.steps, seed=params.seed, at_once=at_once
                )
            return integrated_gradients(gradient_of, steps=params.steps, at_once=at_once)
    return in_microbatches(GRADIENTS[params.kind], at_once)


def _reduced(
    classifier: Classifier, gradient_of: GradientFn, params: SaliencyParameters, inputs: Tensor, targets: Tensor
) -> Tensor:
    return reduce_channels(gradient_of(classifier, inputs, targets), params.channels)


def _enlarged(map_of: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    maps = map_of(inputs, targets)[:, None]
    return functional.interpolate(maps, inputs.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def pack_map(pair: Pair, values: NDArray[np.float32]) -> bytes:
    """The `.npz` of a map: `view` (h, w), `picture` (H, W) in the image's own pixels, and the `area` of the view."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, view=values, picture=pair.view.place_map(values), area=np.array(pair.view.area))
    return buffer.getvalue()
