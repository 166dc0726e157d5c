"""`saliency`: which pixels of a picture a class score depends on."""

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.jobs import Progress
from shared.methods import Saliency
from worker.engine.render import (
    encode_png,
    render_contact_sheet,
    render_heat_map,
    render_overlay,
)
from worker.engine.saliency import gradient_saliency
from worker.judgement import judge
from worker.preprocess import crop_view, to_tensor
from worker.task import Run, Task, file_stem

BATCH = 16
"""Pairs of picture and target that share a forward and a backward pass."""

SHEET_ROWS, SHEET_COLUMNS = 50, 9
"""The contact sheet shows so many pictures at most, and of each the first four targets."""

View = NDArray[np.uint8]
Pair = tuple[str, View, int]
Cell = tuple[View, str]


def run(task: Task[Saliency]) -> Run:
    """Takes the pictures in turn, every pair of picture and target in full batches."""
    images = list(dict.fromkeys(task.request.images))
    total = len(images) * len(task.targets or [0])
    metrics: list[dict[str, Any]] = []
    rows: dict[str, list[Cell]] = {}
    waiting: list[Pair] = []
    for image in images:
        yield Progress(done=len(metrics), total=total, unit="map")
        view = crop_view(task.load_picture(image), task.release.preprocessing)
        waiting += [(image, view, target) for target in task.targets or [predict(task, view)]]
        while len(waiting) >= BATCH or (waiting and image == images[-1]):
            metrics += map_pairs(task, waiting[:BATCH], rows)
            del waiting[:BATCH]
            yield Progress(done=len(metrics), total=total, unit="map")
    task.save("contact-sheet.png", encode_png(render_contact_sheet(list(rows.values()), side=200)))
    task.save("metrics.json", json.dumps({"pairs": metrics}, indent=1).encode())
    return {"pairs": metrics}


def map_pairs(task: Task[Saliency], pairs: list[Pair], rows: dict[str, list[Cell]]) -> list[dict[str, Any]]:
    """One batch: maps, what the network says of the pictures, and the files of each pair."""
    pictures = torch.stack([to_tensor(view) for _, view, _ in pairs]).to(task.device)  # (N, 3, H, W)
    targets = torch.tensor([target for _, _, target in pairs], device=task.device)  # (N,)
    inputs = task.classifier.normalise(pictures)
    maps = gradient_saliency(task.classifier, inputs, targets).cpu().numpy()  # (N, H, W)
    verdicts = judge(task.classifier, task.release, [view for _, view, _ in pairs], targets.tolist())
    for pair, values, verdict in zip(pairs, maps, verdicts, strict=True):
        save_pair(task, pair, values, verdict, rows)
    return [
        {"image": image, "target": task.target(target).model_dump(), **verdict}
        for (image, _, target), verdict in zip(pairs, verdicts, strict=True)
    ]


def save_pair(
    task: Task[Saliency], pair: Pair, values: NDArray[np.float32], verdict: dict[str, Any], rows: dict[str, list[Cell]]
) -> None:
    """Heat map and overlay of one pair as files, and as cells of the contact sheet."""
    image, view, index = pair
    target = task.target(index)
    heat_map, overlay = render_heat_map(values), render_overlay(view, values)
    stem = f"{image[:12]}-{file_stem(target)}"
    task.save(f"{stem}-heat-map.png", encode_png(heat_map), target=target, image=image)
    task.save(f"{stem}-overlay.png", encode_png(overlay), target=target, image=image)
    if image in rows or len(rows) < SHEET_ROWS:
        label = f"{target.name} {verdict['probability']:.0%}"
        row = rows.setdefault(image, [(view, "picture")])
        row += [(heat_map, label), (overlay, "overlay")] if len(row) < SHEET_COLUMNS else []


@torch.no_grad()
def predict(task: Task[Saliency], view: View) -> int:
    """The class that the model gives the highest score."""
    inputs = task.classifier.normalise(to_tensor(view)[None].to(task.device))
    return int(task.classifier.scores(inputs).argmax())
