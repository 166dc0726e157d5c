"""`class_model`: the picture that a class score likes best."""

import math
from collections.abc import Generator, Sequence
from itertools import pairwise

from torch import Tensor

from shared.errors import DeadTarget, Problem
from shared.jobs import Progress
from shared.methods import ClassModel
from worker.climbing import climb, wants_extras
from worker.engine.render import Pixels, arrange, encode_png, render_contact_sheet, to_rgb
from worker.engine.spectrum import default_magnitudes, measure_magnitudes
from worker.preprocess import read_folder, to_tensor
from worker.recipe import choose_canvas, plan_ascents, plan_slots
from worker.recording import Recording, choose_frames, shrink
from worker.task import Run, Task
from worker.tries import Try, judge_tries, save_metrics, save_tries
from worker.view import crop_levels


def run(task: Task[ClassModel]) -> Run:
    """Climbs the targets in batches; each batch is judged and saved before the next begins."""
    params, targets = task.request.params, task.targets or []
    batches = split_evenly(targets, max(1, task.batch // len(params.seeds)))
    total = len(batches) * params.steps
    found: dict[int, list[Try]] = {}
    cells: list[tuple[Pixels, str]] = []
    for number, batch in enumerate(batches):
        yield Progress(done=number * params.steps, total=total, unit="step")
        tries = yield from climb_batch(task, batch, done=number * params.steps, total=total)
        for target in batch:
            found[target] = sorted((one for one in tries if one.target == target), key=Try.place)
            for _ in save_tries(task, target, found[target]):
                yield Progress(done=(number + 1) * params.steps, total=total, unit="step")
            cells += [make_cell(task, one, choose_side(len(targets))) for one in found[target][:1]]
            found[target] = [one.without_pictures() for one in found[target]]
    if not cells:
        raise explain_death(task, targets)
    sheet = render_contact_sheet(arrange(cells, choose_columns(len(cells))), side=choose_side(len(targets)))
    task.save("contact-sheet.png", encode_png(sheet))
    return save_metrics(task, found, explain_death)


def climb_batch(
    task: Task[ClassModel], targets: Sequence[int], *, done: int, total: int
) -> Generator[Progress, None, list[Try]]:
    """Climbs some targets and yields progress; returns the tries that came to something."""
    params = task.request.params
    slots = plan_slots(params, targets)
    extras = wants_extras(params.extras, len(task.targets or []) * len(params.seeds))
    recording = Recording(choose_frames(params.steps, params.frames) if extras else None, params.stills_every)
    ascents = plan_ascents(task.climber, params, picture=load_start(task), magnitudes=find_magnitudes(task))
    climbed = yield from climb(task.climber, ascents, slots, recording, at_once=task.batch, done=done, total=total)
    return judge_tries(task, slots, climbed)


def split_evenly(targets: Sequence[int], most: int) -> list[Sequence[int]]:
    """As few batches of at most so many as there can be, none much smaller than the others."""
    count = math.ceil(len(targets) / most)
    edges = [round(len(targets) * number / count) for number in range(count + 1)]
    return [targets[start:end] for start, end in pairwise(edges)]


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


def make_cell(task: Task[ClassModel], best: Try, side: int) -> tuple[Pixels, str]:
    """A target's place on the contact sheet."""
    name = task.target(best.target).name
    return shrink(to_rgb(best.climbed.levels), side), f"{name} {best.verdict['probability']:.0%}"


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
