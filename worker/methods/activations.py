"""`activations`: renders the activations of the channels of layers for images.

For each layer l and channel k the map is the output of the layer, with tokens arranged on their grid:

    A_k = Φ_l(x)_k,    (h, w)

Yosinski et al. 2015, "Understanding Neural Networks Through Deep Visualization" (arXiv 1506.06579), section 2.
"""

import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archetype.contract.request import Activations
from shared.errors import NotFinite
from shared.media.artifact_names import file_name
from worker.engine.activations import choose_channels, choose_layer, read_maps, scale_maps
from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches
from worker.engine.render import encode_png, flatten_channels, render_tiles
from worker.inputs.pairs import Pair, Pairs, ScoreExecutor
from worker.inputs.preprocess import to_tensor
from worker.inputs.view import apply_view_mode, open_view
from worker.job.cobatch import MethodRun, run_alone
from worker.job.context import JobContext
from worker.output.job_results import JobResults, Part, finish
from worker.output.pair_results import PairResults


def run(context: JobContext[Activations]) -> MethodRun:
    """Runs images in full batches and renders the maps of every layer."""
    params, classifier = context.request.params, context.classifier
    layers = params.layers or [choose_layer(classifier)]
    opening = partial(open_view, preprocessing=apply_view_mode(context.release.preprocessing, params.view))
    # The maps of many layers for many images need more memory than they should.
    pairs = Pairs(context, opening, at_once=max(1, context.batch // len(layers)))
    results, scores = PairResults(context, pairs, "picture"), ScoreExecutor(classifier)
    yield results.progress
    while batch := run_alone(results.reader.next(scores)):
        images = torch.stack([to_tensor(pair.view.levels) for pair in batch]).to(classifier.device)  # (N, C, H, W)
        maps = read_in_parts(classifier, classifier.normalize(images), layers)
        for row, pair in enumerate(batch):
            finite = [layer for layer in layers if bool(maps[layer][row].isfinite().all())]
            for layer in (layer for layer in layers if layer not in finite):
                problem = NotFinite(f"layer {layer} gives values that are NaN or infinite for this picture")
                pairs.fail(pair, problem, layer=layer)
            by_layer = {layer: save_layer(context, pair, layer, maps[layer][row], results) for layer in finite}
            yield results.add(pair.describe() | {"layers": by_layer})
    return results.pack()


def gather(context: JobContext[Activations], parts: Iterable[Part]) -> dict[str, Any]:
    """Combines the results of all shards."""
    results = JobResults.of(parts)
    return finish(context, results, {"pictures": results.pairs})


def read_in_parts(classifier: Classifier, inputs: Tensor, layers: list[str]) -> dict[str, Tensor]:
    """Reads the maps (N, K, h, w) of layers for inputs (N, C, H, W), of fewer inputs at a time if memory runs out."""
    parts, _ = run_in_microbatches(lambda rows: read_maps(classifier, inputs[rows], layers), len(inputs), len(inputs))
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def save_layer(
    context: JobContext[Activations], pair: Pair, layer: str, maps: Tensor, results: PairResults
) -> dict[str, Any]:
    """Saves the files of an image's maps (K, h, w) of a layer; returns the metrics of the layer."""
    params, image = context.request.params, pair.image.id
    channels = choose_channels(maps, params.channels, count=params.count, seed=params.seed)
    chosen = maps[channels].numpy()
    tiles = render_tiles(scale_maps(chosen, params.scale))
    stem = f"{image[:12]}-{file_name(layer)}"
    if "tiles" in params.outputs:
        context.save(f"{stem}.png", encode_png(tiles), image=image)
    if "raw" in params.outputs:
        context.save(f"{stem}.npz", pack(chosen, channels), image=image)
    results.show(pair, flatten_channels(pair.view.levels), [(tiles, layer)])
    means = [float(value) for value in chosen.mean((1, 2))]
    return {"shape": list(maps.shape), "channels": channels, "means": means, "largest": float(chosen.max())}


def pack(maps: np.ndarray[Any, Any], channels: list[int]) -> bytes:
    """The `.npz` of a layer: `maps` (K, h, w), and `channels` (K,), their numbers."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, maps=maps, channels=np.array(channels))
    return buffer.getvalue()
