"""`class_model`: the picture that a class score likes best."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from shared.errors import DeadTarget, Problem, ProblemDocument
from shared.jobs import Progress
from shared.methods import ClassModel
from worker.climbing import Climbers, climb_together, wants_extras
from worker.engine.render import arrange, encode_png, render_contact_sheet, to_rgb
from worker.engine.spectrum import default_magnitudes, measure_magnitudes
from worker.pool import Run
from worker.preprocess import read_folder, to_tensor
from worker.recipe import choose_canvas, plan_ascents, plan_slots
from worker.recording import Recording, choose_frames, shrink, thin_out
from worker.task import Task
from worker.tries import Cell, Found, Try, judge_tries, save_metrics, save_tries
from worker.view import crop_levels


def run(task: Task[ClassModel]) -> Run:
    """Climbs the targets of a share, among those of other jobs; each is judged and saved."""
    params, targets = task.request.params, task.targets or []
    slots = plan_slots(params, targets)
    extras = wants_extras(params.extras, len(task.all_targets) * len(params.seeds))
    recording = Recording(
        choose_frames(params.steps, params.frames) if extras else None, params.stills_every, show=task.show
    )
    ascents = plan_ascents(task.climber, params, picture=load_start(task), magnitudes=find_magnitudes(task))
    climbers = task.pool("climbers", partial(Climbers, task.climber, task.batch))
    climbed = yield from climb_together(climbers, ascents, slots, recording, key=task.key, checkpoint=task.checkpoint)
    tries = judge_tries(task, slots, climbed)
    done = Progress(done=len(slots) * params.steps, total=len(slots) * params.steps, unit="step")
    found = Found()
    for target in targets:
        best_first = sorted((one for one in tries if one.target == target), key=Try.place)
        for _ in save_tries(task, target, best_first):
            yield done
        found.add(describe_target(task, target, best_first), make_cell(task, best_first))
    return found.pack()


def gather(task: Task[ClassModel], parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The files of the whole job, and its metrics, from what its shares have found."""
    found = [Found.unpack(part) for part in parts]
    cells = [cell for one in found for cell in one.cells]
    if not cells:
        raise explain_death(task, task.all_targets)
    side = choose_side(len(task.all_targets))
    sheet = render_contact_sheet(arrange(cells, choose_columns(len(cells))), side=side)
    task.save("contact-sheet.png", encode_png(sheet))
    return save_metrics(task, [target for one in found for target in one.targets])


def describe_failure(task: Task[ClassModel], targets: Sequence[int], problem: ProblemDocument) -> dict[str, Any]:
    """What is found of a share that failed: why, for each of its targets."""
    error = problem.model_dump(mode="json")
    return Found([{"target": task.target(target).model_dump(), "error": error} for target in targets]).pack()


def load_start(task: Task[ClassModel]) -> Tensor | None:
    """The picture to start from (C, H, W), where the request names one."""
    image = task.request.params.start_image
    return None if image is None else to_tensor(crop_levels(task.load_picture(image), task.release.preprocessing))


def find_magnitudes(task: Task[ClassModel]) -> Tensor | None:
    """What a spectrum of phases needs: measured on the release's own pictures, else one over the frequency."""
    params, release = task.request.params, task.release
    if params.image != "maco":
        return None
    size = choose_canvas(task.classifier.size, params)
    if release.pictures is None:
        return default_magnitudes(task.classifier.channels, size)
    pictures = read_folder(release.pictures, release.preprocessing)
    views = (crop_levels(picture, release.preprocessing) for picture in pictures)
    return measure_magnitudes((to_tensor(view) for view in views), size)


def describe_target(task: Task[ClassModel], target: int, best_first: Sequence[Try]) -> dict[str, Any]:
    """What is measured of a target, or why it has no picture, and the curves of its tries."""
    measured = [one.describe() for one in best_first]
    failure = {} if measured else {"error": explain_death(task, [target]).document.model_dump(mode="json")}
    others = {"tries": measured} if len(measured) > 1 else {}
    curves = [thin_out(one.climbed.curve.tolist()) for one in best_first]
    return {"target": task.target(target).model_dump(), **(measured[0] if measured else failure), **others} | {
        "curves": curves
    }


def make_cell(task: Task[ClassModel], best_first: Sequence[Try]) -> Cell | None:
    """A target's place on the contact sheet."""
    if not best_first:
        return None
    best, name = best_first[0], task.target(best_first[0].target).name
    small = shrink(to_rgb(best.climbed.levels), choose_side(len(task.all_targets)))
    return small, f"{name} {best.verdict['probability']:.0%}"


def choose_columns(count: int) -> int:
    """Even rows: of up to eight, and of up to 25 on a poster."""
    return math.ceil(count / math.ceil(count / (8 if count <= 64 else 25)))


def choose_side(count: int) -> int:
    """Side of a picture on the contact sheet in pixels: large ones for a few, small ones on a poster."""
    return max(96, min(224, 2400 // choose_columns(count)))


def explain_death(task: Task[ClassModel], targets: Sequence[int]) -> Problem:
    """Why these targets have no picture."""
    names = ", ".join(task.release.classes[target] for target in targets[:5])
    return DeadTarget(
        f"the score of {names} has no gradient, or the ascent left a flat picture; "
        "try start 'noise', another learning_rate or weaker priors"
    )
