"""`patches`: the parts of a picture that a class depends on most, found by covering one after another."""

import io
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.jobs import Progress
from shared.methods import Patches
from worker.engine.patches import average_squares, cover, place_squares
from worker.engine.render import encode_png, flatten_channels, render_boxes, render_heat_map, to_rgb
from worker.pairs import Pair, Pairs
from worker.pool import Run
from worker.preprocess import to_tensor
from worker.sheet import Sheet, finish
from worker.task import Task, choose_shown, file_stem
from worker.view import Whole, open_whole


@dataclass(frozen=True)
class Covered:
    """What covering a picture's squares did.

    Attributes:
        squares: Left, top, right and bottom (K, 4) in the picture's own pixels.
        before: The probabilities of all classes with nothing covered: (classes,).
        after: The same with each square covered: (K, classes).
    """

    squares: Tensor
    before: Tensor
    after: Tensor

    def change(self, target: int) -> Tensor:
        """How far the target's probability falls with each square (K,); below 0 where it rises."""
        return self.before[target] - self.after[:, target]


def run(task: Task[Patches]) -> Run:
    """Takes the pictures one by one, the squares of each in full batches."""
    preprocessing = choose_shown(task.release.preprocessing, task.request.params.view)
    # One picture at a time: each makes batches enough of its own, and is held in its own pixels.
    pairs = Pairs(task, partial(open_whole, preprocessing=preprocessing), at_once=1)
    total = pairs.count()
    yield Progress(done=0, total=total, unit="map")
    found: list[dict[str, Any]] = []
    sheet, image, covered = Sheet(task.show), "", None
    for (pair,) in pairs.read():
        if covered is None or image != pair.picture.id:
            image, covered = pair.picture.id, cover_picture(task, pair)
        found.append(save_pair(task, pair, covered, sheet))
        yield Progress(done=len(found), total=total, unit="map")
    return finish(task, pairs, sheet, {"pairs": found})


def cover_picture(task: Task[Patches], pair: Pair) -> Covered:
    """Covers every square of a picture in turn; all classes see the same."""
    params, view = task.request.params, pair.view
    height, width = view.size
    square, stride = params.sides(width, height)
    squares = place_squares((height, width), square, stride)
    picture = to_tensor(view.levels).to(task.device)
    fill = find_mean(pair) if params.fill == "mean" else params.fill
    left, top, right, bottom = view.area
    scale = torch.tensor([view.levels.shape[1] / (right - left), view.levels.shape[0] / (bottom - top)]).repeat(2)
    placed = (squares - torch.tensor([left, top, left, top])) * scale
    nothing = torch.zeros(1, 4)
    seen = cover(task.classifier, picture, torch.cat([nothing, placed]), fill, at_once=task.batch)
    return Covered(squares, seen[0], seen[1:])


def find_mean(pair: Pair) -> float:
    """The mean of all of a picture's values, in 0..1, rounded down to a level as a picture has it."""
    return int(whole(pair).mean()) / 255


def whole(pair: Pair) -> NDArray[np.uint8]:
    """The picture (H, W, C) in its own pixels."""
    return cast("Whole", pair.view).picture


def save_pair(task: Task[Patches], pair: Pair, covered: Covered, sheet: Sheet) -> dict[str, Any]:
    """The files of one pair, its cells of the contact sheet, and what is said of it."""
    params, target, image = task.request.params, task.target(pair.target), pair.picture.id
    change = covered.change(pair.target)
    order = (change.abs() if params.rank == "change" else change).argsort(descending=True, stable=True)
    best = order[: params.count].tolist()
    stem = f"{image[:12]}-{file_stem(target)}"
    save = partial(task.save, target=target, image=image)
    height, width = pair.preview.shape[:2]
    scale = torch.tensor([width / pair.view.size[1], height / pair.view.size[0]]).repeat(2)
    marked = render_boxes(pair.preview, [as_edges(covered.squares[number] * scale) for number in best])
    values = np.asarray(average_squares(change, covered.squares * scale, (height, width)))
    heat_map = render_heat_map(np.abs(values))
    if "patches" in params.outputs:
        for number, (left, top, right, bottom) in enumerate(covered.squares[best].int().tolist(), 1):
            cut = flatten_channels(whole(pair)[top:bottom, left:right])
            save(f"{stem}-patch-{number}.png", encode_png(cut))
    if "marked" in params.outputs:
        save(f"{stem}-marked.png", encode_png(marked))
    if "heat_map" in params.outputs:
        save(f"{stem}-heat-map.png", encode_png(heat_map))
    if "raw" in params.outputs:
        save(f"{stem}.npz", pack(covered, pair.target))
    label = f"{target.name} {pair.verdict['probability']:.0%}"
    sheet.add(pair, to_rgb(pair.preview), [(marked, label), (heat_map, "change")])
    named = ("left", "top", "right", "bottom")
    patches = [
        {**dict(zip(named, covered.squares[number].int().tolist(), strict=True)), "fall": float(change[number])}
        for number in best
    ]
    square, stride = params.sides(pair.view.size[1], pair.view.size[0])
    return pair.describe(target) | {"square": square, "stride": stride, "squares": len(change), "patches": patches}


def as_edges(square: Tensor) -> tuple[float, float, float, float]:
    left, top, right, bottom = square.tolist()
    return left, top, right, bottom


def pack(covered: Covered, target: int) -> bytes:
    """Every square (K, 4), and how far the target's probability falls with it (K,), as `.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, squares=covered.squares.numpy(), fall=covered.change(target).numpy())
    return buffer.getvalue()
