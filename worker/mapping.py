"""From a request's parameters to what makes a map, in the engine's words."""

import io
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shared.catalogue import Preprocessing
from shared.parameters.saliency import SaliencyParameters
from worker.engine.classifier import Classifier, in_precision
from worker.engine.saliency.averages import along_path, smooth, times_input
from worker.engine.saliency.channels import reduce_channels
from worker.engine.saliency.grad_cam import find_layer, grad_cam
from worker.engine.saliency.gradient import gradient
from worker.engine.saliency.occlusion import occlude
from worker.engine.saliency.rectified import deconvnet, guided
from worker.engine.saliency.slope import Slope, in_parts
from worker.engine.saliency.ten_crop import MapOf, average_ten_crops
from worker.pairs import Pair, Pairs, Reading, ScorePool
from worker.pool import Want
from worker.preprocess import to_tensor
from worker.task import Task, choose_shown

LARGER = 8 / 7
"""How much larger than the network's input the view is that ten crops are taken of: 256 for 224, as in the paper."""

SLOPES: dict[str, Slope] = {"gradient": gradient, "deconvnet": deconvnet, "guided": guided}


def choose_shape(shape: Preprocessing, params: SaliencyParameters) -> Preprocessing:
    """How pictures become what a map is made of."""
    shape = choose_shown(shape, params.view)
    if params.crops == 1:
        return shape
    larger = {"size": (round(shape.size[0] * LARGER), round(shape.size[1] * LARGER))}
    if shape.resize is not None:
        larger["resize"] = round(shape.resize * LARGER)  # type: ignore[assignment]
    return shape.model_copy(update=larger)


def choose_map(classifier: Classifier, params: SaliencyParameters, at_once: int) -> MapOf:
    """What makes maps (N, H, W) of normalised inputs (N, C, H, W) and targets (N,), as the request wants them.

    Raises:
        ValueError: The network has nothing that the kind is about: no ReLU, no such layer, no layer with places.
    """
    classifier = in_precision(classifier, getattr(torch, params.precision))
    map_of = _choose_kind(classifier, params, at_once)
    if params.crops == 1:
        return map_of
    return partial(average_ten_crops, map_of, size=classifier.size)


def map_pairs(classifier: Classifier, map_of: MapOf, pairs: list[Pair]) -> Tensor:
    """Maps (N, H, W) on the CPU of what the network is shown of pairs."""
    pictures = torch.stack([to_tensor(pair.view.levels) for pair in pairs]).to(classifier.device)
    targets = torch.tensor([pair.target for pair in pairs], device=classifier.device)
    return map_of(classifier.normalise(pictures), targets).float().cpu()


@dataclass(frozen=True)
class MapPool:
    """Maps of the pairs of several jobs, in one batch."""

    classifier: Classifier
    map_of: MapOf

    def compute(self, wants: Sequence[list[Pair]]) -> list[Tensor]:
        """Maps (N, H, W), on the CPU, of each job's pairs."""
        maps = map_pairs(self.classifier, self.map_of, [pair for pairs in wants for pair in pairs])
        return list(maps.split([len(pairs) for pairs in wants]))


class Maps:
    """Goes through all pairs of a job once, a batch at a time, and makes their maps in company."""

    def __init__(self, task: Task[Any], pairs: Pairs) -> None:
        """Raises `ValueError` as `choose_map` does."""
        classifier, params = task.classifier, task.request.params
        self._reading = Reading(pairs)
        self._scores = task.pool("scores", lambda: ScorePool(classifier))
        self._maps = task.pool("maps", lambda: MapPool(classifier, choose_map(classifier, params, task.batch)))

    def next(self) -> Generator[Want, Any, tuple[list[Pair], Tensor] | None]:
        """The next batch and its maps (N, H, W); None when there are no more."""
        batch = yield from self._reading.next(self._scores)
        return (batch, (yield Want(self._maps, batch))) if batch else None


def _choose_kind(classifier: Classifier, params: SaliencyParameters, at_once: int) -> MapOf:
    match params.kind:
        case "grad_cam":
            layer = params.layer or find_layer(classifier)
            return partial(_enlarged, partial(grad_cam, classifier, layer=layer))
        case "occlusion":
            return partial(
                occlude, classifier, square=params.square, stride=params.stride, fill=params.fill, at_once=at_once
            )
    return partial(_reduced, classifier, _choose_slope(params, at_once), params)


def _choose_slope(params: SaliencyParameters, at_once: int) -> Slope:
    # In parts innermost: where memory runs out, it is one pass that is too large.
    slope = in_parts(SLOPES[params.slope], at_once)
    match params.kind:
        case "gradient_x_input":
            return times_input(slope)
        case "smoothgrad":
            return smooth(slope, samples=params.samples, deviation=params.noise, seed=params.seed, at_once=at_once)
        case "integrated_gradients":
            return along_path(slope, steps=params.steps, at_once=at_once)
    return in_parts(SLOPES[params.kind], at_once)


def _reduced(
    classifier: Classifier, slope: Slope, params: SaliencyParameters, inputs: Tensor, targets: Tensor
) -> Tensor:
    return reduce_channels(slope(classifier, inputs, targets), params.channels)


def _enlarged(map_of: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    maps = map_of(inputs, targets)[:, None]
    return functional.interpolate(maps, inputs.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def pack_map(pair: Pair, values: NDArray[np.float32]) -> bytes:
    """The map of the view, `view` (h, w), and of the picture, `picture` (H, W), and where the view lies, as `.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, view=values, picture=pair.view.place_map(values), area=np.array(pair.view.area))
    return buffer.getvalue()
