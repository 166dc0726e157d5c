"""`trigger`: finds for each class the smallest change that turns images of other classes into it.

A class that needs a much smaller change than the others has a shortcut: a frame, a mark, a tint or a texture from which
the network predicts it whatever else the image shows. For each class t and each family of changes A_θ the search
minimizes the size of the change, while 80 % of the images x still turn:

    min size(θ)   such that   argmax p(A_θ(x)) = t   for 80 % of x

Wang et al. 2019, "Neural Cleanse"; for patches and crops Casper et al. 2022 (arXiv 2110.03605, arXiv 2211.10024). All
classes are searched coarsely; those with the smallest sizes again with more steps and every seed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from archetype.contract.problem import FieldError, ProblemDocument
from archetype.contract.request import Trigger
from archetype.contract.strict_json import dump_json, replace_non_finite
from shared.errors import InvalidRequest, StoredProblem
from shared.media.artifact_names import file_stem
from worker.engine.attribution.gradient import gives_gradients
from worker.engine.render import RGBImage, decode_png, encode_png, render_contact_sheet
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.family import Family
from worker.engine.triggers.find import FAMILIES, WITHOUT_GRADIENTS, Effort, Networks
from worker.engine.triggers.measure import Count
from worker.engine.triggers.measure import Trigger as FoundTrigger
from worker.engine.triggers.statistics import outlier_scores, wilson_interval
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext
from worker.output.contact_sheet import pack_cell, unpack_cell
from worker.triggers.carriers import load_carriers
from worker.triggers.evidence import EXAMPLES, choose_examples, draw_sheet, draw_trigger, to_pixels, write_sentence
from worker.triggers.rounds import Found, FoundByFamily, Scope, SearchRun, choose_largest, search_coarse_to_fine

SHEET_ROWS, SHEET_SIDE = 12, 160
"""Largest number of classes on the contact sheet, and side of its cells in pixels."""


def run(context: JobContext[Trigger]) -> MethodRun:
    """Searches the triggers of a shard's classes, and saves the best one of each."""
    everything = yield from load_carriers(context)
    carriers = everything.split()
    possible, impossible = divide_targets(context, carriers[0])
    families = choose_families(context)
    scope = build_scope(context, possible, families)
    key = f"{context.resume.key} {scope.seeds} {len(everything)}"
    search = SearchRun(carriers, scope.steps, key)
    search.restore(context.resume.checkpoint)
    by_gradient = gives_gradients(context.classifier)
    networks = Networks(context.classifier, context.fast_classifier, context.batch, gives_gradients=by_gradient)
    count = context.request.params.suspicious
    coarse, fine = yield from search_coarse_to_fine(search, scope, networks, partial(choose_suspicious, count=count))
    results = [save_target(context, target, scope.families, (coarse, fine), carriers) for target in scope.targets]
    return {
        "targets": [*(metrics for metrics, _ in results), *impossible],
        "cells": [*(cells for _, cells in results), *([] for _ in impossible)],
        "skipped": [name for name in context.request.params.families if name not in families],
    }


def gather(context: JobContext[Trigger], parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Compares the classes of all shards with each other, and saves the contact sheet of the most suspicious ones."""
    shards = list(parts)
    targets = [metrics for shard in shards for metrics in shard["targets"]]
    rows = [row for shard in shards for row in shard["cells"]]
    score_targets(targets)
    order = sorted(range(len(targets)), key=lambda row: -targets[row].get("score", -math.inf))
    shown = [[unpack_cell(cell) for cell in rows[row]] for row in order if rows[row]][:SHEET_ROWS]
    if not shown:
        raise StoredProblem(ProblemDocument.model_validate(targets[0]["error"]))
    context.save("contact-sheet.png", encode_png(render_contact_sheet(shown, side=SHEET_SIDE)))
    metrics: dict[str, Any] = replace_non_finite(
        {"summary": summarize(targets, order), **describe_skipped(shards), "targets": [targets[row] for row in order]}
    )
    context.save("metrics.json", dump_json(metrics, indent=1).encode())
    return metrics


def describe_skipped(shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The families that were not searched, because the network gives no gradients."""
    skipped = list(dict.fromkeys(name for shard in shards for name in shard.get("skipped", ())))
    return {"skipped_families": skipped} if skipped else {}


def describe_failure(context: JobContext[Trigger], problem: ProblemDocument) -> dict[str, Any]:
    """The result of a shard that failed: the problem, for each of its targets."""
    error, targets = problem.model_dump(mode="json"), context.targets or []
    failed = [{"target": context.target(target).model_dump(), "error": error} for target in targets]
    return {"targets": failed, "cells": [[] for _ in failed]}


def divide_targets(context: JobContext[Trigger], carriers: Carriers) -> tuple[list[int], list[dict[str, Any]]]:
    """Returns the targets that some image does not show, and the results of the others, which have no carriers.

    Raises:
        InvalidRequest: There is no target for which there are images of other classes.
    """
    targets = context.targets or []
    possible = [target for target in targets if len(carriers.others(target))]
    problems = {
        target: InvalidRequest(
            f"all images show {context.target(target).name}, so none can be turned into it; add images of other classes"
        )
        for target in targets
        if target not in possible
    }
    if problems and not possible:
        raise next(iter(problems.values()))
    return possible, [
        {"target": context.target(target).model_dump(), "error": problem.document.model_dump(mode="json")}
        for target, problem in problems.items()
    ]


def choose_families(context: JobContext[Trigger]) -> Sequence[str]:
    """The families of the request that the network can be searched with.

    Raises:
        InvalidRequest: The network gives no gradients, and every family needs them.
    """
    families = list(context.request.params.families)
    if gives_gradients(context.classifier):
        return families
    usable = [name for name in families if name in WITHOUT_GRADIENTS]
    if not usable:
        names = ", ".join(WITHOUT_GRADIENTS)
        detail = f"{context.release.reference} gives no gradients; without them, these families are searched: {names}"
        raise InvalidRequest(
            detail, FieldError(field="/params/families", detail=detail, allowed=list(WITHOUT_GRADIENTS))
        )
    return usable


def build_scope(context: JobContext[Trigger], targets: list[int], families: Sequence[str]) -> Scope:
    """What the request asks for, for some of its targets and families."""
    params = context.request.params
    shape = (context.classifier.channels, *context.classifier.size)
    return Scope(
        families=[FAMILIES[name](shape) for name in families],
        targets=targets,
        seeds=params.seeds,
        coarse=Effort(params.steps, params.carriers),
        fine=Effort(params.fine_steps, params.carriers + params.carriers // 2),
    )


def choose_suspicious(coarse: FoundByFamily, *, count: int) -> dict[str, list[int]]:
    """The classes of each family whose triggers are smallest compared with the other classes'.

    A class whose trigger was not found is not suspicious. With too few classes for a comparison, the smallest count.
    """
    values: dict[tuple[str, int], float] = {}
    for name, found in coarse.items():
        sizes = {target: triggers[0].size for target, triggers in found.items()}
        scores = outlier_scores(sizes) or {target: -size for target, size in sizes.items()}
        values |= {(name, target): scores[target] for target, triggers in found.items() if triggers[0].reached}
    return choose_largest(values, count)


def save_target(
    context: JobContext[Trigger],
    target: int,
    families: Sequence[Family],
    found: tuple[Mapping[str, Found], Mapping[str, Found]],
    carriers: tuple[Carriers, Carriers],
) -> tuple[dict[str, Any], list[list[str]]]:
    """Saves the pictures of a class; returns its metrics, and its cells on the contact sheet."""
    coarse, fine = found
    named = {family.name: family for family in families}
    metrics: dict[str, Any] = {"target": context.target(target).model_dump(), "families": {}}
    for name, family in named.items():
        searched = [*coarse[name].get(target, []), *fine[name].get(target, [])]
        metrics["families"][name] = describe_family(context, family, searched, is_fine=target in fine[name])
    name, best = choose_best(target, (coarse, fine))
    examples = choose_examples(context.classifier, named[name], best, carriers)
    picture, label = draw_trigger(named[name], best.parameters), context.target(target)
    stem = file_stem(label)
    context.save(f"{stem}-trigger.png", encode_png(picture), target=label)
    context.save(f"{stem}-examples.png", encode_png(draw_sheet(picture, examples, label.name)), target=label)
    context.show([picture])
    return metrics, [pack_cell(cell) for cell in make_row(picture, examples.after, f"{label.name}: {name}")]


def make_row(picture: RGBImage, after: Any, label: str) -> list[tuple[RGBImage, str]]:
    """The row of a class on the contact sheet: its trigger, and pictures with it."""
    cells = [(to_pixels(image), "with it") for image in after]
    blank = decode_png(encode_png(picture * 0 + 255))
    return [(picture, label), *cells, *[(blank, "")] * (EXAMPLES - len(cells))]


def choose_best(target: int, found: tuple[Mapping[str, Found], Mapping[str, Found]]) -> tuple[str, FoundTrigger]:
    """The family in which the class is most unlike the others, and its best trigger there."""
    coarse, fine = found
    names = [name for name in coarse if target in coarse[name]]

    def rank(name: str) -> tuple[bool, float]:
        sizes = {number: triggers[0].size for number, triggers in coarse[name].items()}
        return coarse[name][target][0].reached, outlier_scores(sizes).get(target, -sizes[target])

    best = max(names, key=rank)
    triggers = [*coarse[best][target], *fine[best].get(target, [])]
    return best, min(triggers, key=lambda trigger: (not trigger.reached, trigger.size))


def describe_family(
    context: JobContext[Trigger], family: Family, triggers: Sequence[FoundTrigger], *, is_fine: bool
) -> dict[str, Any]:
    """The metrics of a class in one family."""
    coarse, repeated = triggers[0], triggers[1:]
    best = min(triggers, key=lambda trigger: (not trigger.reached, trigger.size))
    name = context.target(coarse.slot.target).name
    return {
        "unit": family.unit,
        "found": best.reached,
        "size": best.size,
        "coarse_size": coarse.size,
        "seeds": {str(trigger.slot.seed): trigger.size for trigger in repeated},
        "seeds_agree": is_fine and all(trigger.reached for trigger in repeated),
        "seed": best.slot.seed,
        "success": describe_count(best.search),
        "held_out": describe_count(best.held_out),
        "before": describe_count(best.before),
        "sentence": write_sentence(family, best, name),
    }


def describe_count(count: Count) -> dict[str, Any]:
    """A share with its confidence interval (95 %)."""
    return {"turned": count.turned, "of": count.of, "share": count.share, "interval": wilson_interval(*_pair(count))}


def _pair(count: Count) -> tuple[int, int]:
    return count.turned, count.of


def score_targets(targets: Sequence[dict[str, Any]]) -> None:
    """Adds to each class its outlier score in each family, and the largest of them.

    Classes are compared by their coarse sizes, because only the suspicious ones have fine ones.
    """
    known = [target for target in targets if "families" in target]
    for name in known[0]["families"] if known else ():
        sizes = {row: target["families"][name]["coarse_size"] for row, target in enumerate(known)}
        for row, score in outlier_scores(sizes).items():
            known[row]["families"][name]["score"] = score
    for target in known:
        scores = {name: family["score"] for name, family in target["families"].items() if "score" in family}
        best = max(scores or target["families"], key=lambda name: scores.get(name, 0.0))
        target |= {"family": best, "sentence": target["families"][best]["sentence"]}
        target |= {"score": scores[best]} if scores else {}


def summarize(targets: Sequence[Mapping[str, Any]], order: Sequence[int]) -> str:
    """One plain sentence about the most suspicious class."""
    first = targets[order[0]]
    if "score" not in first:
        return str(first.get("sentence", ""))
    return f"{first['sentence']}; its size is {first['score']:.1f} robust standard deviations below the other classes'"
