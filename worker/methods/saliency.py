"""`saliency`: computes which pixels of an image the score of a class depends on.

The plain kind is the gradient of the score S_c, by default its largest magnitude over the channels:

    M_ij = max_k |∂S_c(x) / ∂x_kij|

Simonyan et al. 2013 (arXiv 1312.6034), equation 4. The other kinds: deconvnet, Zeiler and Fergus 2013 (arXiv
1311.2901); guided backpropagation, Springenberg et al. 2014 (arXiv 1412.6806); SmoothGrad, Smilkov et al. 2017 (arXiv
1706.03825); integrated gradients, Sundararajan et al. 2017 (arXiv 1703.01365); Grad-CAM, Selvaraju et al. 2016 (arXiv
1610.02391); occlusion, Zeiler and Fergus 2013.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from archetype.contract.request import Saliency
from archetype.contract.strict_json import replace_non_finite
from shared.media.artifact_names import file_stem
from worker.attribution.color_scale import choose_scale, draw_map
from worker.attribution.evidence import MapEvidence
from worker.attribution.map_job import MapJob, gather_maps
from worker.attribution.saliency_maps import choose_map, map_pairs, pack_map
from worker.engine.heat_map import render_heat_map, render_overlay
from worker.engine.render import encode_png, flatten_channels
from worker.inputs.pairs import Pair
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext
from worker.output.contact_sheet import NO_EVIDENCE
from worker.output.job_results import JobResults, Part
from worker.output.pair_results import PairResults


def run(context: JobContext[Saliency]) -> MethodRun:
    """Computes the map of every pair of image and target of a shard."""
    job = MapJob(context, "map")
    yield from job.run(partial(save_pair, context, job.results), partial(check_agreement, context, job.results.notes))
    return job.results.pack()


def gather(context: JobContext[Saliency], parts: Iterable[Part]) -> dict[str, Any]:
    """Combines the results of all shards."""
    return gather_maps(context, parts, describe_agreement)


def check_agreement(context: JobContext[Saliency], notes: dict[str, Any], pairs: Sequence[Pair], maps: Tensor) -> None:
    """Compares maps (N, h, w) of a reduced precision with those of float32, for the first batch of a job."""
    params, classifier = context.request.params, context.classifier
    if params.precision == "float32" or "correlations" in notes or context.place.number > 0:
        return
    exact = choose_map(classifier, params.model_copy(update={"precision": "float32"}), context.batch)
    notes["correlations"] = replace_non_finite(correlate(maps, map_pairs(classifier, exact, list(pairs))))


def describe_agreement(results: JobResults) -> dict[str, Any]:
    """The least and the mean correlation, for the job's metrics; empty if nothing was compared."""
    compared = (notes["correlations"] for notes in results.notes if "correlations" in notes)
    correlations: list[float | None] = next(compared, [])
    if not correlations:
        return {}
    finite = [correlation for correlation in correlations if correlation is not None]
    if not finite:  # every map is constant
        return {"agreement_with_float32": {"least": None, "mean": None}}
    return {"agreement_with_float32": {"least": min(finite), "mean": sum(finite) / len(finite)}}


def save_pair(context: JobContext[Saliency], results: PairResults, pair: Pair, evidence: MapEvidence) -> dict[str, Any]:
    """Saves the files of a pair and its map, adds its cells to the contact sheet, and returns its metrics."""
    target, image, outputs = context.target(pair.target), pair.image.id, context.request.params.outputs
    shown, score = flatten_channels(pair.view.levels), pair.prediction["score"]
    scale = choose_scale(context.request.params, evidence, score)
    heat_map = render_heat_map(evidence.drawn, scale.limit)
    overlay = render_overlay(shown, evidence.drawn, scale.limit)
    label, stem = context.label(pair.target, pair.prediction["probability"]), f"{image[:12]}-{file_stem(target)}"
    if "heat_map" in outputs:
        context.save(f"{stem}-heat-map.png", encode_png(heat_map), target=target, image=image)
    if "overlay" in outputs:
        context.save(f"{stem}-overlay.png", encode_png(overlay), target=target, image=image)
    if "figure" in outputs:
        figure = draw_map(shown, evidence.drawn, scale, label=label, kind=context.request.params.kind)
        context.save(f"{stem}-figure.png", encode_png(figure), target=target, image=image)
    if "raw" in outputs:
        context.save(f"{stem}.npz", pack_map(pair, evidence.values), target=target, image=image)
    note = NO_EVIDENCE if evidence.is_empty else "no effect" if scale.is_negligible else "overlay"
    results.show(pair, shown, [(heat_map, label), (overlay, note)])
    if scale.is_negligible:
        context.output.warn(f"the map of class {target.name} for picture {pair.name} {scale.explain_negligible(score)}")
    return pair.describe(target) | scale.describe()


def correlate(maps: Tensor, others: Tensor) -> list[float]:
    """The correlation of each map (N, h, w) with the other map of the same pair, −1 to 1; NaN if one is constant."""
    pairs = zip(maps.flatten(1), others.flatten(1), strict=True)
    return [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs]
