"""`localization`: where in a picture a class is, found by a network that was never told."""

import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.jobs import Progress
from shared.methods import Localization
from shared.parameters.localization import LocalizationParameters
from worker.engine.localization import Box, Cut, Mask, cut_out, largest_component, tight_box
from worker.engine.render import encode_png, render_heat_map, render_object, render_overlay
from worker.localization_error import describe_errors
from worker.mapping import Maps, choose_shape, pack_map
from worker.measures import begin_measures
from worker.pairs import Pair, Pairs
from worker.pool import Run
from worker.sheet import Sheet, finish
from worker.task import Task, file_stem
from worker.view import open_view

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """What was found so far.

    Attributes:
        said: Of every pair, for the job's metrics.
        boxes: By picture, rank, class and box of every pair, in the picture's pixels.
        sizes: By picture, its height and width.
    """

    said: list[dict[str, Any]] = field(default_factory=list)
    boxes: dict[str, list[tuple[int, int, Box | None]]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, pair: Pair, box: Box | None, said: dict[str, Any]) -> None:
        self.said.append(said)
        self.boxes.setdefault(pair.picture.id, []).append((pair.verdict["rank"], pair.target, box))
        self.sizes[pair.picture.id] = pair.view.size

    def likeliest_first(self) -> dict[str, list[tuple[int, Box | None]]]:
        """By picture, the classes that were looked for and their boxes."""
        return {
            image: [(target, box) for _, target, box in sorted(each, key=lambda one: one[0])]
            for image, each in self.boxes.items()
        }


def run(task: Task[Localization]) -> Run:
    """Maps in full batches as saliency makes them, and of each map the object that it points at."""
    params = task.request.params
    pairs = Pairs(task, partial(open_view, preprocessing=choose_shape(task.release.preprocessing, params)))
    total = pairs.count()
    yield Progress(done=0, total=total, unit="box")
    maps_of = Maps(task, pairs)
    measures = begin_measures(task.classifier, params, task.batch)
    found, sheet = Found(), Sheet(task.show)
    while made := (yield from maps_of.next()):
        batch, maps = made
        for pair, values, measured in zip(batch, maps.numpy(), measures.take(batch, maps), strict=True):
            mask = find_object(pair, np.abs(values), params)
            box = place_box(tight_box(mask), mask, pair)
            found.add(pair, box, save_object(task, pair, values, mask, box, sheet) | measured)
            yield Progress(done=len(found.said), total=total, unit="box")
    errors = describe_errors(task.release, task.request.pictures, found.likeliest_first(), found.sizes)
    measures.save(task)
    return finish(task, pairs, sheet, {"pairs": found.said, **errors, **measures.sum_up()})


def find_object(pair: Pair, values: Map, params: LocalizationParameters) -> Mask:
    """The object's pixels in the preview (H, W), from the map of the view."""
    cut = Cut(
        foreground=params.foreground, background=params.background, probable=params.probable, blur=params.blur,
        iterations=params.iterations, side=params.side,
    )  # fmt: skip
    height, width = pair.preview.shape[:2]
    return largest_component(cut_out(pair.preview, pair.view.place_map(values, (height, width)), cut))


def place_box(box: Box | None, mask: Mask, pair: Pair) -> Box | None:
    """A box of the preview in the picture's own pixels."""
    height, width = pair.view.size
    return box and box.scale(width / mask.shape[1], height / mask.shape[0])


def save_object(
    task: Task[Localization], pair: Pair, values: Map, mask: Mask, box: Box | None, sheet: Sheet
) -> dict[str, Any]:
    """The files of one pair, its cells of the contact sheet, and what is said of it."""
    target, image, outputs = task.target(pair.target), pair.picture.id, task.request.params.outputs
    stem = f"{image[:12]}-{file_stem(target)}"
    drawn = draw_object(pair, mask)
    placed = pair.view.place_map(np.abs(values), (mask.shape[0], mask.shape[1]))
    heat_map = render_heat_map(placed)
    pictures = {"box": drawn, "mask": enlarge_mask(mask, pair.view.size)}
    pictures |= {"heat-map": heat_map} if "heat_map" in outputs else {}
    pictures |= {"overlay": render_overlay(pair.preview, placed)} if "overlay" in outputs else {}
    for name, pixels in pictures.items():
        task.save(f"{stem}-{name}.png", encode_png(pixels), target=target, image=image)
    if "raw" in outputs:
        task.save(f"{stem}.npz", pack_map(pair, values), target=target, image=image)
    found = None if box is None else {"left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom}
    said = {**pair.describe(target), "box": found}
    task.save(f"{stem}.json", json.dumps(said, indent=1).encode(), target=target, image=image)
    sheet.add(pair, pair.preview, [(heat_map, f"{target.name} {pair.verdict['probability']:.0%}"), (drawn, "object")])
    return said


def draw_object(pair: Pair, mask: Mask) -> NDArray[np.uint8]:
    """The preview with the object bright, its box, and the true boxes."""
    across, down = mask.shape[1] / pair.view.size[1], mask.shape[0] / pair.view.size[0]
    true = [Box(box.left, box.top, box.right, box.bottom).scale(across, down) for box in pair.picture.boxes]
    return render_object(pair.preview, mask, [_edges(box) for box in [tight_box(mask)] if box], [*map(_edges, true)])


def enlarge_mask(mask: Mask, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask as a picture of 0 and 255, at a picture's height and width."""
    levels = mask.astype(np.uint8) * 255
    return np.asarray(cv2.resize(levels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), np.uint8)


def _edges(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom
