"""`saliency`: which pixels of a picture a class score depends on."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.jobs import Progress
from shared.methods import Saliency
from worker.engine.render import encode_png, flatten_channels, render_heat_map, render_overlay
from worker.mapping import Maps, choose_map, choose_shape, map_pairs, pack_map
from worker.measures import begin_measures
from worker.pairs import Pair, Pairs
from worker.pool import Run
from worker.sheet import Sheet, finish
from worker.task import Task, file_stem
from worker.view import open_view


def run(task: Task[Saliency]) -> Run:
    """Takes the pictures in turn, every pair of picture and target in full batches."""
    params = task.request.params
    pairs = Pairs(task, partial(open_view, preprocessing=choose_shape(task.release.preprocessing, params)))
    total = pairs.count()
    yield Progress(done=0, total=total, unit="map")
    maps_of = Maps(task, pairs)
    measures = begin_measures(task.classifier, params, task.batch)
    metrics: list[dict[str, Any]] = []
    agreements: list[float] = []
    sheet = Sheet(task.show)
    while made := (yield from maps_of.next()):
        batch, maps = made
        if params.precision != "float32" and not agreements:  # one batch tells
            exact = choose_map(task.classifier, params.model_copy(update={"precision": "float32"}), task.batch)
            agreements += correlate(maps, map_pairs(task.classifier, exact, batch))
        for pair, values, measured in zip(batch, maps.numpy(), measures.take(batch, maps), strict=True):
            metrics.append(save_pair(task, pair, values, sheet) | measured)
        yield Progress(done=len(metrics), total=total, unit="map")
    measures.save(task)
    found: dict[str, Any] = {"pairs": metrics, **measures.sum_up()}
    if agreements:
        found["agreement_with_float32"] = {"least": min(agreements), "mean": sum(agreements) / len(agreements)}
    return finish(task, pairs, sheet, found)


def save_pair(task: Task[Saliency], pair: Pair, values: NDArray[np.float32], sheet: Sheet) -> dict[str, Any]:
    """The files of one pair, its cells of the contact sheet, and what is said of it."""
    target, image, outputs = task.target(pair.target), pair.picture.id, task.request.params.outputs
    shown = flatten_channels(pair.view.levels)
    heat_map, overlay = render_heat_map(np.abs(values)), render_overlay(shown, np.abs(values))
    stem = f"{image[:12]}-{file_stem(target)}"
    if "heat_map" in outputs:
        task.save(f"{stem}-heat-map.png", encode_png(heat_map), target=target, image=image)
    if "overlay" in outputs:
        task.save(f"{stem}-overlay.png", encode_png(overlay), target=target, image=image)
    if "raw" in outputs:
        task.save(f"{stem}.npz", pack_map(pair, values), target=target, image=image)
    label = f"{target.name} {pair.verdict['probability']:.0%}"
    sheet.add(pair, shown, [(heat_map, label), (overlay, "overlay")])
    return pair.describe(target)


def correlate(ours: Tensor, theirs: Tensor) -> list[float]:
    """The correlation of each map (N, H, W) with another of the same picture, −1 to 1."""
    pairs = zip(ours.flatten(1), theirs.flatten(1), strict=True)
    return [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs]
