"""`fool`: changes an image as little as possible until the network takes it for another class.

Maximizes the target's score or log-probability from the image x₀, within a ball around it if the request bounds the
change:

    x ← Π(x + η · opt(∇ₓ log p_t(x))),    Π: projection onto ‖x − x₀‖ ≤ ε and onto [0, 1]

Adversarial examples: Szegedy et al. 2013 (arXiv 1312.6199); projected gradient ascent: Madry et al. 2017
(arXiv 1706.06083), section 2.1.
"""

import io
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from archetype.contract.parameters import fool
from archetype.contract.parameters.fool import FoolParameters
from archetype.contract.request import Fool
from shared.media.artifact_names import file_stem
from worker.engine.ascent import constraints
from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.initial import Given
from worker.engine.ascent.objectives import ClassScore, LogProbability
from worker.engine.ascent.octaves import SlotPlan
from worker.engine.ascent.transforms import Chain
from worker.engine.model.classifier import Classifier
from worker.engine.render import encode_png, render_contact_sheet, render_difference, to_rgb
from worker.inputs.pairs import Pair, Pairs
from worker.inputs.predictions import predict
from worker.inputs.preprocess import Levels, to_tensor
from worker.inputs.view import crop_levels, open_framed
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext
from worker.optimization.ascent_builder import build_pixels, choose_optimizer, choose_schedule
from worker.optimization.ascent_files import save_extras
from worker.optimization.optimize import AscentResult, NoResult, has_finite_scores
from worker.optimization.pair_ascents import PairAscents, PairOutput
from worker.output.job_results import JobResults, Part, finish


def run(context: JobContext[Fool]) -> MethodRun:
    """Runs every pair of image and target until its saved image fools the network."""
    pairs = Pairs(context, partial(open_framed, preprocessing=context.release.preprocessing))
    # In float32, not in the precision of the execution plan: the image has to fool the network itself.
    ascents = PairAscents(context, pairs, context.classifier)
    return (yield from ascents.run(partial(build_plans, context), partial(save_pair, context)))


def gather(context: JobContext[Fool], parts: Iterable[Part]) -> dict[str, Any]:
    """Combines the results of all shards."""
    results = JobResults.of(parts)
    return finish(context, results, {"summary": summarize(results.pairs), "pairs": results.pairs})


def summarize(pairs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The share of all pairs whose image fools the network, and of those that reach `min_prob`."""
    return {name: sum(pair.get(name, False) for pair in pairs) / len(pairs) for name in ("fooled", "reached") if pairs}


def build_plans(context: JobContext[Fool], pairs: Sequence[Pair]) -> list[SlotPlan]:
    """Builds one slot per pair."""
    params = context.request.params
    return [
        SlotPlan(
            Slot(pair.target, params.seed, params.learning_rate),
            [build_ascent(context.classifier, params, to_tensor(pair.view.levels))],
        )
        for pair in pairs
    ]


def build_ascent(classifier: Classifier, params: FoolParameters, image: Tensor) -> Ascent:
    """Builds the bounded ascent from an image (C, H, W) in 0..1."""
    bounds: list[constraints.Constraint] = []
    match params.constraint:
        case fool.LInf():
            bounds.append(constraints.LInf(params.constraint.radius))
        case fool.L2():
            bounds.append(constraints.L2(params.constraint.radius))
    return Ascent(
        steps=params.steps,
        parameterization=build_pixels(classifier, params.unit),
        size=classifier.size,
        start=Given(image[None], params.noise),
        optimizer=choose_optimizer(params.optimizer, params.momentum),
        transform=Chain(classifier.size),
        objective=ClassScore() if params.objective == "score" else LogProbability(),
        schedule=choose_schedule(params.schedule, params.steps),
        origins=image[None],
        constraints=(*bounds, constraints.clip) if params.clip else tuple(bounds),
        restarts=0,
        stop_probability=params.min_prob,
        check_every=params.check_every,
        as_saved=True,
    )


def save_pair(context: JobContext[Fool], pair: Pair, results: Sequence[AscentResult | NoResult]) -> PairOutput:
    """Saves the files of a pair; its metrics, and its cells: the difference and the result."""
    (result,) = results
    target, image = context.target(pair.target), pair.image.id
    before = pair.view.put_back(pair.view.levels)
    dead = f"the score of {target.name} has no gradient at this image; try noise, or another learning_rate"
    failed = {"image": image, "target": target.model_dump()}
    if isinstance(result, NoResult):
        return PairOutput(failed | result.describe(dead), to_rgb(before))
    after = pair.view.put_back(result.levels)
    change = measure_change(context, before, after, pair.target)
    if not (has_finite_scores(change["before"]) and has_finite_scores(change["after"])):
        return PairOutput(failed | NoResult().describe(dead), to_rgb(before))
    amplification = context.request.params.amplify or choose_amplification(before, after)
    difference = to_rgb(render_difference(before, after, amplification))
    row = [
        (to_rgb(before), label_prediction(context, change["before"])),
        (difference, f"difference x {amplification:.3g}"),
        (to_rgb(after), label_prediction(context, change["after"])),
    ]
    stem = f"{image[:12]}-{file_stem(target)}"
    save = partial(context.save, target=target, image=image)
    save(f"{stem}.png", encode_png(to_rgb(after)))
    save(f"{stem}-difference.png", encode_png(difference))
    save(f"{stem}-side-by-side.png", encode_png(render_contact_sheet([row], side=320)))
    if after.shape[2] not in (1, 3):
        save(f"{stem}.npy", pack_levels(after))
    save_extras(context.save, stem, result, target=target, image=image)
    end = {"steps": result.end.steps, "stopped": result.end.reason, "amplified": amplification}
    return PairOutput({**pair.describe(target), **change["after"], **change, **end}, to_rgb(before), row[1:])


def measure_change(context: JobContext[Fool], before: Levels, after: Levels, target: int) -> dict[str, Any]:
    """Predicts two saved images (H, W, C) as the network predicts any image, and measures how far they are apart."""
    views = [crop_levels(levels, context.release.preprocessing) for levels in (before, after)]
    first, last = predict(context.classifier, context.release, views, [target, target])
    return {
        "before": first,
        "after": last,
        "fooled": last["rank"] == 1,
        "reached": last["probability"] > context.request.params.min_prob,
        "change": measure_distance(before, after),
    }


def measure_distance(before: Levels, after: Levels) -> dict[str, float]:
    """L∞ and L2 norm and mean magnitude of the change between two images (H, W, C), in units of the whole range."""
    change = np.abs(after.astype(np.float64) - before) / 255
    return {"linf": float(change.max()), "l2": float(np.sqrt(np.square(change).sum())), "mean": float(change.mean())}


def label_prediction(context: JobContext[Fool], prediction: dict[str, Any]) -> str:
    """The predicted class and its probability, as images show them."""
    predicted = prediction["predicted"]
    return context.label(predicted["index"], predicted["probability"])


def choose_amplification(before: Levels, after: Levels) -> float:
    """The factor that makes the largest change as large as an image can show."""
    largest = float(np.abs(after.astype(np.float64) - before).max())
    return 127.5 / max(largest, 1.0)


def pack_levels(levels: NDArray[np.uint8]) -> bytes:
    """An image (H, W, C) as `.npy`, which can be uploaded again."""
    buffer = io.BytesIO()
    np.save(buffer, levels, allow_pickle=False)
    return buffer.getvalue()
