"""`activations`: what the channels of layers make of pictures."""

import io
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.jobs import Progress
from shared.methods import Activations
from worker.engine.activations import choose_channels, read_maps, scale_maps
from worker.engine.classifier import Classifier
from worker.engine.memory import run_in_parts
from worker.engine.render import encode_png, flatten_channels, render_tiles
from worker.engine.saliency.grad_cam import find_layer
from worker.pairs import Pair, Pairs
from worker.pool import Run
from worker.preprocess import to_tensor
from worker.sheet import Sheet, finish
from worker.task import Task, choose_shown, file_name
from worker.view import open_view


def run(task: Task[Activations]) -> Run:
    """Shows the network full batches of pictures, and draws of each what every layer made of it."""
    params, classifier = task.request.params, task.classifier
    layers = params.layers or [find_layer(classifier)]
    opening = partial(open_view, preprocessing=choose_shown(task.release.preprocessing, params.view))
    # What many layers make of many pictures is more than memory should hold.
    pairs = Pairs(task, opening, at_once=max(1, task.batch // len(layers)))
    total = pairs.count()
    yield Progress(done=0, total=total, unit="picture")
    found: list[dict[str, Any]] = []
    sheet = Sheet(task.show)
    for batch in pairs.read():
        pictures = torch.stack([to_tensor(pair.view.levels) for pair in batch]).to(classifier.device)
        maps = read_in_parts(classifier, classifier.normalise(pictures), layers)
        for row, pair in enumerate(batch):
            said = {layer: save_layer(task, pair, layer, maps[layer][row], sheet) for layer in layers}
            found.append(pair.describe() | {"layers": said})
            yield Progress(done=len(found), total=total, unit="picture")
    return finish(task, pairs, sheet, {"pictures": found})


def read_in_parts(classifier: Classifier, inputs: Tensor, layers: list[str]) -> dict[str, Tensor]:
    """Maps (N, K, h, w) by layer, of fewer pictures at a time where memory runs out."""
    parts, _ = run_in_parts(lambda rows: read_maps(classifier, inputs[rows], layers), len(inputs), len(inputs))
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def save_layer(task: Task[Activations], pair: Pair, layer: str, maps: Tensor, sheet: Sheet) -> dict[str, Any]:
    """The files of what a layer made of a picture, maps (K, h, w), and what is said of it."""
    params, image = task.request.params, pair.picture.id
    channels = choose_channels(maps, params.channels, count=params.count, seed=params.seed)
    chosen = maps[channels].numpy()
    tiles = render_tiles(scale_maps(chosen, params.scale))
    stem = f"{image[:12]}-{file_name(layer)}"
    if "tiles" in params.outputs:
        task.save(f"{stem}.png", encode_png(tiles), image=image)
    if "raw" in params.outputs:
        task.save(f"{stem}.npz", pack(chosen, channels), image=image)
    sheet.add(pair, flatten_channels(pair.view.levels), [(tiles, layer)])
    means = [float(value) for value in chosen.mean((1, 2))]
    return {"shape": list(maps.shape), "channels": channels, "means": means, "largest": float(chosen.max())}


def pack(maps: np.ndarray[Any, Any], channels: list[int]) -> bytes:
    """The maps (K, h, w) and the numbers of their channels, as `.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, maps=maps, channels=np.array(channels))
    return buffer.getvalue()
