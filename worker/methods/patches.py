"""`patches`: finds the squares of an image that a class depends on most, by covering one square after another.

The importance of a square q is how far the probability of the class falls when the square is covered with one gray
level:

    Δ_q = p_c(x) − p_c(x with q covered)

Occlusion sensitivity: Zeiler and Fergus 2013 (arXiv 1311.2901), section 4.2; as "important patches" in timm-vis.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archetype.contract.parameters.patches import PatchesParameters
from archetype.contract.request import Patches
from shared.errors import NotFinite
from shared.media.artifact_names import file_stem
from worker.attribution.evidence import describe_sides
from worker.engine.attribution.perturbation.occlusion import find_falls
from worker.engine.attribution.perturbation.patches import average_squares, cover, place_squares
from worker.engine.heat_map import render_heat_map
from worker.engine.render import encode_png, flatten_channels, render_boxes, to_rgb
from worker.inputs.pairs import Pair, Pairs, ScoreExecutor
from worker.inputs.preprocess import to_tensor
from worker.inputs.view import ViewWithImage, apply_view_mode, open_with_image
from worker.job.cobatch import MethodRun, run_alone
from worker.job.context import JobContext
from worker.output.contact_sheet import NO_EVIDENCE
from worker.output.job_results import JobResults, Part, finish
from worker.output.pair_results import PairResults

NO_PROBABILITY = (
    "the network gives NaN or infinity for this picture when a square of it is covered; ask for another square or fill"
)


@dataclass(frozen=True)
class Occlusions:
    """The effect of covering each square of an image.

    Attributes:
        squares: Left, top, right and bottom (K, 4) in the image's own pixels.
        before: Probabilities of all classes with nothing covered: (classes,).
        after: Probabilities of all classes with each square covered: (K, classes).
    """

    squares: Tensor
    before: Tensor
    after: Tensor

    def change(self, target: int) -> Tensor:
        """How far the target's probability falls with each square (K,); negative if it rises, zero within rounding."""
        return find_falls(self.before[target], self.after[:, target])


def run(context: JobContext[Patches]) -> MethodRun:
    """Covers the squares of one image after another, in full batches."""
    preprocessing = apply_view_mode(context.release.preprocessing, context.request.params.view)
    # One image at a time: the squares of one image fill batches, and the image is kept at its full size.
    pairs = Pairs(context, partial(open_with_image, preprocessing=preprocessing), at_once=1)
    results, scores = PairResults(context, pairs, "map"), ScoreExecutor(context.classifier)
    yield results.progress
    image, occlusions = "", None
    while batch := run_alone(results.reader.next(scores)):
        (pair,) = batch
        if occlusions is None or image != pair.image.id:
            image, occlusions = pair.image.id, cover_squares(context, pair)
        if bool(occlusions.change(pair.target).isfinite().all()):
            yield results.add(save_pair(context, pair, occlusions, results))
        else:
            yield results.fail(pair, NotFinite(NO_PROBABILITY), target=context.target(pair.target).model_dump())
    return results.pack()


def gather(context: JobContext[Patches], parts: Iterable[Part]) -> dict[str, Any]:
    """Combines the results of all shards."""
    results = JobResults.of(parts)
    return finish(context, results, {"pairs": results.pairs})


def cover_squares(context: JobContext[Patches], pair: Pair) -> Occlusions:
    """Covers every square of an image in turn; the result holds for all classes."""
    params, view = context.request.params, pair.view
    height, width = view.size
    square, stride = params.sides(width, height)
    squares = place_squares((height, width), square, stride)
    image = to_tensor(view.levels).to(context.device)  # (C, h, w)
    fill = find_mean(pair) if params.fill == "mean" else params.fill
    left, top, right, bottom = view.area
    scale = torch.tensor([view.levels.shape[1] / (right - left), view.levels.shape[0] / (bottom - top)]).repeat(2)
    placed = (squares - torch.tensor([left, top, left, top])) * scale
    nothing = torch.zeros(1, 4)
    probabilities = cover(context.classifier, image, torch.cat([nothing, placed]), fill, at_once=context.batch)
    return Occlusions(squares, probabilities[0], probabilities[1:])


def find_mean(pair: Pair) -> float:
    """The mean of all values of an image, in 0..1, rounded down to an 8-bit level."""
    return int(whole(pair).mean()) / 255


def whole(pair: Pair) -> NDArray[np.uint8]:
    """The image (H, W, C) in its own pixels."""
    return cast("ViewWithImage", pair.view).image


def save_pair(context: JobContext[Patches], pair: Pair, occlusions: Occlusions, results: PairResults) -> dict[str, Any]:
    """Saves the files of a pair, adds its cells to the contact sheet, and returns its metrics."""
    params, target, image = context.request.params, context.target(pair.target), pair.image.id
    change = occlusions.change(pair.target)
    best = rank_squares(change, params)
    stem = f"{image[:12]}-{file_stem(target)}"
    save = partial(context.save, target=target, image=image)
    height, width = pair.preview.shape[:2]
    scale = torch.tensor([width / pair.view.size[1], height / pair.view.size[0]]).repeat(2)
    marked = render_boxes(pair.preview, [as_edges(occlusions.squares[number] * scale) for number in best])
    values = np.asarray(average_squares(change, occlusions.squares * scale, (height, width)))
    heat_map = render_heat_map(values)
    if "patches" in params.outputs:
        for number, (left, top, right, bottom) in enumerate(occlusions.squares[best].int().tolist(), 1):
            cut = flatten_channels(whole(pair)[top:bottom, left:right])
            save(f"{stem}-patch-{number}.png", encode_png(cut))
    if "marked" in params.outputs:
        save(f"{stem}-marked.png", encode_png(marked))
    if "heat_map" in params.outputs:
        save(f"{stem}-heat-map.png", encode_png(heat_map))
    if "raw" in params.outputs:
        save(f"{stem}.npz", pack(occlusions, pair.target))
    label = context.label(pair.target, pair.prediction["probability"])
    results.show(pair, to_rgb(pair.preview), [(marked, label), (heat_map, "change" if best else NO_EVIDENCE)])
    edges = ("left", "top", "right", "bottom")
    patches = [
        {**dict(zip(edges, occlusions.squares[number].int().tolist(), strict=True)), "fall": float(change[number])}
        for number in best
    ]
    square, stride = params.sides(pair.view.size[1], pair.view.size[0])
    if not best:
        what = "changes" if params.rank == "change" else "lowers"
        context.output.warn(
            f"covering a square never {what} the probability of class {target.name} for picture {pair.name}"
        )
    sides = {"positive": np.maximum(values, 0), "negative": np.maximum(-values, 0)}
    return pair.describe(target) | {
        "square": square,
        "stride": stride,
        "squares": len(change),
        "empty": not best,
        "evidence": describe_sides(sides),
        "patches": patches,
    }


def rank_squares(change: Tensor, params: PatchesParameters) -> list[int]:
    """The numbers of the squares with the largest change (K,), or the largest fall; those without any are left out."""
    ranked = change.abs() if params.rank == "change" else change
    order = ranked.argsort(descending=True, stable=True)[: params.count].tolist()
    return [number for number in order if ranked[number] > 0]


def as_edges(square: Tensor) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a square (4,)."""
    left, top, right, bottom = square.tolist()
    return left, top, right, bottom


def pack(occlusions: Occlusions, target: int) -> bytes:
    """The `.npz` of a pair: `squares` (K, 4), and `fall` (K,), how far the target's probability falls with each."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, squares=occlusions.squares.numpy(), fall=occlusions.change(target).numpy())
    return buffer.getvalue()
