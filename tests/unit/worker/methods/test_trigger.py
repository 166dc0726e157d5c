"""`trigger`: which class is suspicious, what is saved, carriers of all kinds, and the end after an interruption."""

from typing import Any

import numpy as np
import pytest

from archetype.contract.model import Preprocessing
from archetype.contract.problem import ProblemDocument
from shared.errors import InvalidRequest, StoredProblem
from tests.support.marked import CLASSES, PLANTED, SIDE, Marked, make_carriers
from tests.support.run_method import Result, open_job, work
from worker.inputs.preprocess import Levels
from worker.job.cobatch import SavePoint
from worker.methods.trigger import describe_failure, gather

SETTINGS: dict[str, Any] = {"classes": CLASSES, "preprocessing": Preprocessing(size=(SIDE, SIDE))}
SMALL = {"families": ["mask", "frame"], "steps": 60, "fine_steps": 60, "suspicious": 2, "carriers": 4}


def request(**params: Any) -> dict[str, Any]:
    return {"method": "trigger", "targets": list(range(CLASSES)), "params": {**SMALL, **params}}


def pictures() -> list[Levels]:
    images = make_carriers().images.permute(0, 2, 3, 1).numpy()
    return [np.round(image * 255).astype(np.uint8) for image in images]


@pytest.fixture(scope="module")
def result() -> Result:
    return work(Marked(), request(), pictures(), **SETTINGS)


def test_the_planted_class_comes_first_with_a_sentence(result: Result) -> None:
    first = result.metrics["targets"][0]
    assert first["target"]["index"] == PLANTED
    assert first["family"] == "mask"
    assert first["score"] > 2
    assert f"into class {PLANTED} (before: " in first["sentence"]
    assert result.metrics["summary"].startswith(first["sentence"])


def test_the_planted_class_was_searched_again_and_every_seed_agrees(result: Result) -> None:
    mask = result.metrics["targets"][0]["families"]["mask"]
    assert set(mask["seeds"]) == {"1", "2"}
    assert mask["seeds_agree"]
    assert mask["size"] <= mask["coarse_size"]
    assert mask["held_out"]["of"] > 0
    assert mask["held_out"]["interval"][0] <= mask["held_out"]["share"] <= mask["held_out"]["interval"][1]


def test_every_class_has_its_pictures(result: Result) -> None:
    for target in range(CLASSES):
        stem = f"{target:04d}-class-{target}"
        assert result.pixels(f"{stem}-trigger.png").shape == (SIDE, SIDE, 3)
        assert result.pixels(f"{stem}-examples.png").shape[2] == 3
    assert {"contact-sheet.png", "metrics.json"} <= set(result.files)


def test_the_progress_ends_at_its_total(result: Result) -> None:
    last = result.progress[-1]
    assert (last.done, last.total) == (last.total, 2 * (60 + 60))


def test_without_images_carriers_are_drawn_and_a_warning_says_so() -> None:
    result = work(Marked(), request(families=["frame"], steps=5, fine_steps=5, seeds=[1]), **SETTINGS)
    assert len(result.metrics["targets"]) == CLASSES
    assert any("no images" in warning for warning in result.warnings)


def test_images_of_the_target_alone_are_refused() -> None:
    only = {"method": "trigger", "targets": [0], "params": SMALL}
    ids = [f"{number:012x}".ljust(64, "0") for number in range(2)]
    images = [{"id": each, "targets": [0]} for each in ids]
    with pytest.raises(InvalidRequest, match="all images show class 0"):
        work(Marked(), {**only, "images": images}, pictures()[:2], **SETTINGS)


def test_an_interrupted_search_ends_with_the_same_result() -> None:
    body, store = request(families=["frame"], steps=8, fine_steps=6), dict[str, bytes]()
    whole = work(Marked(), body, pictures(), **SETTINGS)
    for after in (5, 12):
        with open_job(Marked(), body, pictures(), store=store, **SETTINGS) as (method, context):
            events = (event for event in method.run(context) if isinstance(event, SavePoint))
            checkpoint = next(event for number, event in enumerate(events) if number == after).checkpoint()
        resumed = work(Marked(), body, pictures(), checkpoint=checkpoint, attempt="2", **SETTINGS)
        assert resumed.metrics == whole.metrics
        assert len(resumed.progress) < len(whole.progress)


def test_a_failed_shard_has_the_problem_of_each_class() -> None:
    problem = ProblemDocument(type="/problems/internal", title="t", status=500, detail="d", errors=[])
    with open_job(Marked(), request(families=["frame"], steps=5, fine_steps=5), pictures(), **SETTINGS) as job:
        context = job[1]
        failed = describe_failure(context, problem)
        assert [each["target"]["index"] for each in failed["targets"]] == list(range(CLASSES))
        with pytest.raises(StoredProblem):
            gather(context, [failed])
