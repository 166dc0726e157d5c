"""`localization`: finds where in an image the object of a class is, with a network that was trained on classes alone.

A saliency map M is computed as in `saliency`; pixels above and below thresholds of M seed GraphCut color segmentation,
and the box around the largest component is the object:

    box = bounds(largest component of GraphCut(x, {M > q_foreground}, {M < q_background}))

Simonyan et al. 2013 (arXiv 1312.6034), section 3.2; GraphCut: Rother et al. 2004 (doi:10.1145/1015706.1015720).
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from archetype.contract.parameters.localization import LocalizationParameters
from archetype.contract.request import Localization
from archetype.contract.strict_json import dump_json
from shared.media.artifact_names import file_stem
from worker.attribution.color_scale import choose_scale, draw_map
from worker.attribution.evidence import MapEvidence
from worker.attribution.localization_metrics import describe_errors
from worker.attribution.map_job import MapJob, gather_maps
from worker.attribution.saliency_maps import pack_map
from worker.engine.attribution.boxes import Box, Mask, largest_component, tight_box
from worker.engine.attribution.graph_cut import GraphCut, segment_object
from worker.engine.heat_map import render_heat_map, render_overlay
from worker.engine.render import encode_png, render_object
from worker.inputs.pairs import Pair
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext
from worker.output.contact_sheet import NO_EVIDENCE
from worker.output.job_results import JobResults, Part
from worker.output.pair_results import PairResults


def run(context: JobContext[Localization]) -> MethodRun:
    """Computes maps as `saliency` does, and from each map the object."""
    job = MapJob(context, "box")
    yield from job.run(partial(save_pair, context, job.results))
    return job.results.pack()


def gather(context: JobContext[Localization], parts: Iterable[Part]) -> dict[str, Any]:
    """Combines the results of all shards."""
    return gather_maps(context, parts, partial(describe_localization, context))


def describe_localization(context: JobContext[Localization], results: JobResults) -> dict[str, Any]:
    """The errors of all boxes, as `describe_errors` describes them."""
    detections: dict[str, list[tuple[int, int, Box | None]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for pair in results.pairs:
        box = None if pair["box"] is None else Box(**pair["box"])
        detections.setdefault(pair["image"], []).append((pair["rank"], pair["target"]["index"], box))
    for notes in results.notes:
        sizes |= {image: (height, width) for image, (height, width) in notes.get("sizes", {}).items()}
    ranked = {
        image: [(target, box) for _, target, box in sorted(boxes, key=lambda detection: detection[0])]
        for image, boxes in detections.items()
    }
    return describe_errors(context.release, context.request.pictures, ranked, sizes)


def find_object(pair: Pair, evidence: MapEvidence, params: LocalizationParameters) -> Mask:
    """Finds the pixels of the object in the preview (H, W), from the map of the view; none from an empty map."""
    height, width = pair.preview.shape[:2]
    if evidence.is_empty:
        return np.zeros((height, width), np.bool_)
    cut = GraphCut(
        foreground=params.foreground,
        background=params.background,
        probable=params.probable,
        blur=params.blur,
        iterations=params.iterations,
        side=params.side,
    )
    placed = pair.view.place_map(evidence.positive, (height, width))
    return largest_component(segment_object(pair.preview, placed, cut))


def place_box(box: Box | None, mask: Mask, pair: Pair) -> Box | None:
    """Scales a box of the preview to the image's own pixels."""
    height, width = pair.view.size
    return box and box.scale(width / mask.shape[1], height / mask.shape[0])


def save_pair(
    context: JobContext[Localization], results: PairResults, pair: Pair, evidence: MapEvidence
) -> dict[str, Any]:
    """Finds the object of a pair from its map and saves the files; returns the metrics of the pair."""
    mask = find_object(pair, evidence, context.request.params)
    box = place_box(tight_box(mask), mask, pair)
    results.notes.setdefault("sizes", {})[pair.image.id] = list(pair.view.size)
    target, image, outputs = context.target(pair.target), pair.image.id, context.request.params.outputs
    stem = f"{image[:12]}-{file_stem(target)}"
    drawn = draw_object(pair, mask)
    placed = pair.view.place_map(evidence.drawn, (mask.shape[0], mask.shape[1]))
    label, score = context.label(pair.target, pair.prediction["probability"]), pair.prediction["score"]
    scale = choose_scale(context.request.params, evidence, score)
    heat_map = render_heat_map(placed, scale.limit)
    images = {"box": drawn, "mask": enlarge_mask(mask, pair.view.size)}
    images |= {"heat-map": heat_map} if "heat_map" in outputs else {}
    images |= {"overlay": render_overlay(pair.preview, placed, scale.limit)} if "overlay" in outputs else {}
    if "figure" in outputs:
        images["figure"] = draw_map(pair.preview, placed, scale, label=label, kind=context.request.params.kind)
    for name, pixels in images.items():
        context.save(f"{stem}-{name}.png", encode_png(pixels), target=target, image=image)
    if "raw" in outputs:
        context.save(f"{stem}.npz", pack_map(pair, evidence.values), target=target, image=image)
    edges = None if box is None else {"left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom}
    found = {"box": edges, "size": list(pair.view.size)}
    metrics = {**pair.describe(target), **found, **evidence.describe(), **scale.describe()}
    context.save(f"{stem}.json", dump_json(metrics, indent=1).encode(), target=target, image=image)
    results.show(pair, pair.preview, [(heat_map, label), (drawn, NO_EVIDENCE if evidence.is_empty else "object")])
    return metrics


def draw_object(pair: Pair, mask: Mask) -> NDArray[np.uint8]:
    """Draws the preview with the object highlighted, its box, and the true boxes."""
    across, down = mask.shape[1] / pair.view.size[1], mask.shape[0] / pair.view.size[0]
    true = [Box(box.left, box.top, box.right, box.bottom).scale(across, down) for box in pair.image.boxes]
    return render_object(pair.preview, mask, [_edges(box) for box in [tight_box(mask)] if box], [*map(_edges, true)])


def enlarge_mask(mask: Mask, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Renders a mask (h, w) as an image of 0 and 255 with the height and width of the job's image."""
    levels = mask.astype(np.uint8) * 255
    return np.asarray(cv2.resize(levels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), np.uint8)


def _edges(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom
