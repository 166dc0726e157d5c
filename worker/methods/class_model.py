"""`class_model`: class visualization (class model), the image that maximizes the score of a class.

Gradient ascent on the score S_c before the softmax, minus weighted regularizers:

    x* = argmaxₓ S_c(x) − Σ λᵢ · Rᵢ(x)

Simonyan, Vedaldi and Zisserman 2013, "Deep Inside Convolutional Networks" (arXiv 1312.6034), equation 1. The defaults,
random transforms and images parameterized in Fourier space, follow Olah et al. 2017, "Feature Visualization"
(doi:10.23915/distill.00007).
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from archetype.contract.job import Progress
from archetype.contract.parameters.ascent import list_frame_steps
from archetype.contract.parameters.components import Probability, Score
from archetype.contract.problem import ProblemDocument
from archetype.contract.request import ClassModel
from shared.errors import DeadTarget, NotFinite, Problem
from worker.engine.ascent.config import Slot
from worker.engine.ascent.fourier import default_magnitudes, measure_magnitudes
from worker.engine.ascent.octaves import SlotPlan
from worker.engine.model.last_layer import LastLayer, find_last_layer
from worker.engine.render import arrange, encode_png, render_contact_sheet, to_rgb
from worker.inputs.preprocess import read_folder, shrink, to_tensor
from worker.inputs.view import crop_levels
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext
from worker.optimization.ascent_builder import build_ascents, build_slots, choose_canvas
from worker.optimization.ascent_files import wants_extras
from worker.optimization.candidates import Candidate, ClassModels, evaluate_candidates, save_candidates, save_metrics
from worker.optimization.checkpoint import pack, unpack
from worker.optimization.diversity import measure_diversity
from worker.optimization.optimize import NOT_FINITE, AscentGroup, RunningAscents, run_ascents
from worker.optimization.trajectory import Trajectory, thin_out
from worker.output.contact_sheet import Cell


def run(context: JobContext[ClassModel]) -> MethodRun:
    """Runs the targets of a shard together with those of other jobs, then evaluates and saves them."""
    params, targets = context.request.params, context.targets or []
    slots = build_slots(params, targets)
    group = build_group(context, slots)
    total = len(slots) * params.steps
    executor = context.executor("ascents", partial(RunningAscents, context.fast_classifier, context.batch))
    results = yield from run_ascents(
        executor,
        group,
        report=lambda: Progress(done=group.steps_taken, total=total, unit="step"),
        checkpoint=lambda: pack(context.resume.key, group.save()),
    )
    candidates = evaluate_candidates(context, slots, results)
    broken = {candidate.target for candidate in candidates if not candidate.is_finite}
    broken |= {slots[number].target for number, end in group.failures().items() if end.reason == "not_finite"}
    models = ClassModels()
    layer = find_last_layer(context.classifier) if len(params.seeds) > 1 else None
    for target in targets:
        of_target = (candidate for candidate in candidates if candidate.target == target and candidate.is_finite)
        best_first = sorted(of_target, key=Candidate.sort_key)
        for _ in save_candidates(context, target, best_first):
            yield Progress(done=total, total=total, unit="step")
        models.add(
            describe_target(context, target, best_first, layer, is_broken=target in broken),
            make_cell(context, best_first),
        )
    return models.pack()


def gather(context: JobContext[ClassModel], parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Combines the results of all shards: saves the files of the whole job and returns its metrics."""
    shards = [ClassModels.unpack(part) for part in parts]
    cells = [cell for shard in shards for cell in shard.cells]
    if not cells:
        broken = [
            target["target"]["index"]
            for target in (target for shard in shards for target in shard.targets)
            if target.get("error", {}).get("type") == f"/problems/{NotFinite.slug}"
        ]
        raise explain_missing_image(context, broken or context.all_targets, is_broken=bool(broken))
    warn_of_failed_ascents(context, [target for shard in shards for target in shard.targets])
    side = choose_side(len(context.all_targets))
    sheet = render_contact_sheet(arrange(cells, choose_columns(len(cells))), side=side)
    context.save("contact-sheet.png", encode_png(sheet))
    return save_metrics(context, [target for shard in shards for target in shard.targets])


def describe_failure(context: JobContext[ClassModel], problem: ProblemDocument) -> dict[str, Any]:
    """The result of a shard that failed: the problem, for each of its targets."""
    error, targets = problem.model_dump(mode="json"), context.targets or []
    return ClassModels([{"target": context.target(target).model_dump(), "error": error} for target in targets]).pack()


def build_group(context: JobContext[ClassModel], slots: Sequence[Slot]) -> AscentGroup:
    """Builds the group of a shard's slots, or restores it from the checkpoint of an earlier attempt."""
    params = context.request.params
    ascents = build_ascents(
        context.fast_classifier, params, start_image=load_start(context), magnitudes=find_magnitudes(context)
    )
    extras = wants_extras(params.extras, len(context.all_targets) * len(params.seeds))
    frames = frozenset(list_frame_steps(params.steps, params.frames)) if extras else None
    saved = unpack(context.resume.checkpoint, context.resume.key)
    trajectory = Trajectory(frames, params.stills_every, show=context.show)
    return AscentGroup([SlotPlan(slot, ascents) for slot in slots], trajectory, saved["group"] if saved else None)


def load_start(context: JobContext[ClassModel]) -> Tensor | None:
    """The image to start from (C, H, W) in 0..1, if the request names one."""
    image = context.request.params.start_image
    return None if image is None else to_tensor(crop_levels(context.images.load(image), context.release.preprocessing))


def find_magnitudes(context: JobContext[ClassModel]) -> Tensor | None:
    """Fourier magnitudes (C, H, W // 2 + 1) for `maco`: those of the release's own images, else 1 / frequency."""
    params, release = context.request.params, context.release
    if params.image != "maco":
        return None
    size = choose_canvas(context.classifier.size, params)
    if release.pictures is None:
        return default_magnitudes(context.classifier.channels, size)
    images = read_folder(release.pictures, release.preprocessing)
    views = (crop_levels(image, release.preprocessing) for image in images)
    return measure_magnitudes((to_tensor(view) for view in views), size)


def warn_of_failed_ascents(context: JobContext[ClassModel], targets: Sequence[dict[str, Any]]) -> None:
    """Warns of classes that the network does not recognize in the best image that was drawn of them."""
    if not any(isinstance(term, Score | Probability) for term in context.request.params.objective):
        return  # the class was not the objective
    failed = [target["target"]["name"] for target in targets if target.get("converged") is False]
    if failed:
        context.output.warn(
            f"{len(failed)} of {len(targets)} ascents did not converge: the network sees another class in its image of "
            f"{', '.join(failed[:5])}{' and others' if len(failed) > 5 else ''}; more steps may help"
        )


def describe_target(
    context: JobContext[ClassModel],
    target: int,
    best_first: Sequence[Candidate],
    layer: LastLayer | None,
    *,
    is_broken: bool,
) -> dict[str, Any]:
    """The metrics of a target and the curves of its candidates, or the reason why it has no image."""
    metrics = [candidate.describe() for candidate in best_first]
    problem = explain_missing_image(context, [target], is_broken=is_broken)
    return {
        "target": context.target(target).model_dump(),
        **(metrics[0] if metrics else {"error": problem.document.model_dump(mode="json")}),
        **({"tries": metrics, "diversity": find_diversity(context, best_first, layer)} if len(metrics) > 1 else {}),
        "curves": [thin_out(candidate.result.curve.tolist()) for candidate in best_first],
    }


def find_diversity(
    context: JobContext[ClassModel], candidates: Sequence[Candidate], layer: LastLayer | None
) -> float | None:
    """How much the images of a class differ between seeds; None if the network has no penultimate features."""
    if layer is None:
        return None
    views = [crop_levels(candidate.result.levels, context.release.preprocessing) for candidate in candidates]
    return measure_diversity(context.classifier, layer, views)


def make_cell(context: JobContext[ClassModel], best_first: Sequence[Candidate]) -> Cell | None:
    """The cell of a target on the contact sheet."""
    if not best_first:
        return None
    best = best_first[0]
    small = shrink(to_rgb(best.result.levels), choose_side(len(context.all_targets)))
    return small, context.label(best.target, best.prediction["probability"])


def choose_columns(count: int) -> int:
    """Columns that make even rows: of up to 8 cells, and of up to 25 for more than 64."""
    return math.ceil(count / math.ceil(count / (8 if count <= 64 else 25)))


def choose_side(count: int) -> int:
    """Side of a cell in pixels: the fewer cells, the larger."""
    return max(96, min(224, 2400 // choose_columns(count)))


def explain_missing_image(context: JobContext[ClassModel], targets: Sequence[int], *, is_broken: bool) -> Problem:
    """The reason why these targets have no image; `is_broken` if values were not finite."""
    names = ", ".join(context.release.classes[target] for target in targets[:5])
    if is_broken:
        return NotFinite(f"no image for {names}: {NOT_FINITE}")
    return DeadTarget(
        f"the score of {names} has no gradient, or the ascent left a flat image; "
        "try start 'noise', another learning_rate or weaker priors"
    )
