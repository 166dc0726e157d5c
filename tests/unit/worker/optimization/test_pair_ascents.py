"""Interrupted jobs of pairs: they continue from their checkpoint to the same result, and repeat no work."""

import io
import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from shared.queue.sharding import ImageRange
from tests.support.networks import Small, seeded
from tests.support.run_method import Result, interrupt, noise, open_job, work
from worker.job.cobatch import run_alone
from worker.job.context import ShardPlace
from worker.optimization.checkpoint import FORMAT
from worker.optimization.optimize import RunningAscents

IMAGES = [noise(24, 32, seed=seed) for seed in range(3)]
LAYERS = ["features.0", "features.2", "features.4"]

BODIES: dict[str, dict[str, Any]] = {
    "fool": {"targets": [1, 2, 3], "params": {"steps": 6, "min_prob": 0.25, "noise": 0.02, "frames": 2}},
    "fool-bounded": {
        "targets": [1, 2, 3],
        "params": {"steps": 6, "constraint": {"kind": "l2", "radius": 0.3}, "frames": 2},
    },
    "deep_dream": {
        "params": {
            "objective": {"kind": "norm", "layer": "features.4"},
            "steps": 6,
            "octaves": 3,
            "side": 32,
            "jitter": 4,
            "frames": 2,
        }
    },
    "feature_inversion": {"params": {"steps": 6, "layers": LAYERS, "frames": 2}},
    "feature_inversion-fourier": {"params": {"steps": 6, "layers": LAYERS, "image": "fourier", "frames": 2}},
}

BATCH = 6
"""With three images, `deep_dream` then has a group of two and a group of one."""


def body(name: str) -> dict[str, Any]:
    return {"method": name.partition("-")[0], **BODIES[name]}


@cache
def uninterrupted(name: str) -> Result:
    return work(seeded(Small), body(name), IMAGES, batch=BATCH)


@pytest.fixture
def slot_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of slots in each step that is computed."""
    counts: list[int] = []
    compute = RunningAscents.compute

    def count(self: RunningAscents, wants: Any) -> Any:
        counts.extend(len(positions) for positions in wants if positions)
        return compute(self, wants)

    monkeypatch.setattr(RunningAscents, "compute", count)
    return counts


def resume(name: str, after: int, *, batch: int = BATCH) -> tuple[Result, dict[str, bytes]]:
    """Interrupts a job and finishes it in a second attempt; its result, and the files of both attempts."""
    store: dict[str, bytes] = {}
    checkpoint = interrupt(seeded(Small), body(name), IMAGES, after=after, store=store, batch=BATCH)
    result = work(seeded(Small), body(name), IMAGES, checkpoint=checkpoint, store=store, attempt="2", batch=batch)
    return result, store


@pytest.mark.parametrize("after", [0, 3, 9])
@pytest.mark.parametrize("name", BODIES)
def test_a_resumed_job_has_every_bit_of_the_result_of_an_uninterrupted_one(name: str, after: int) -> None:
    whole = uninterrupted(name)
    resumed, _ = resume(name, after)
    assert resumed.metrics == whole.metrics
    assert list(resumed.files) == list(whole.files)
    assert [file for file in whole.files if resumed.files[file] != whole.files[file]] == []


@pytest.mark.parametrize("name", ["deep_dream", "feature_inversion"])
@pytest.mark.parametrize("after", [1, 5, 7, 9])
def test_no_step_is_taken_twice(slot_steps: list[int], name: str, after: int) -> None:
    work(seeded(Small), body(name), IMAGES, batch=BATCH)
    whole = sum(slot_steps)
    slot_steps.clear()
    resume(name, after)
    assert sum(slot_steps) == whole


def test_finished_pairs_keep_the_files_of_the_attempt_that_made_them() -> None:
    resumed, store = resume("deep_dream", after=9)
    finished = [pair["image"][:12] for pair in resumed.metrics["pairs"][:2]]
    again = {name for name in store if name.startswith("2/") and name.partition("/")[2][:12] in finished}
    assert again == set()
    assert all(f"{image}-features-4.gif" in resumed.files for image in finished)


def test_a_pair_that_was_saved_before_the_interruption_is_not_saved_again() -> None:
    store: dict[str, bytes] = {}
    # Six steps of a group of two, and the request after its first pair was saved.
    checkpoint = interrupt(seeded(Small), body("deep_dream"), IMAGES, after=6, store=store, batch=BATCH)
    first, second = (f"{number:012x}-features-4.png" for number in range(2))
    assert (f"1/{first}" in store, f"1/{second}" in store) == (True, False)
    resumed = work(
        seeded(Small), body("deep_dream"), IMAGES, checkpoint=checkpoint, store=store, attempt="2", batch=BATCH
    )
    assert (f"2/{first}" in store, f"2/{second}" in store) == (False, True)
    assert resumed.files == uninterrupted("deep_dream").files


@pytest.mark.parametrize("batch", [3, 9])
def test_an_attempt_with_another_batch_size_continues_all_the_same(slot_steps: list[int], batch: int) -> None:
    work(seeded(Small), body("deep_dream"), IMAGES, batch=BATCH)
    whole = sum(slot_steps)
    slot_steps.clear()
    resumed, _ = resume("deep_dream", after=3, batch=batch)
    assert sum(slot_steps) == whole
    assert len(resumed.metrics["pairs"]) == 3


def test_progress_continues_where_it_was() -> None:
    result, _ = resume("deep_dream", after=10)
    assert result.progress[0].done >= 12
    assert [one.done for one in result.progress] == sorted(one.done for one in result.progress)


def change(checkpoint: bytes, **fields: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.load(io.BytesIO(checkpoint), weights_only=True) | fields, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("fields", [{"format": FORMAT - 1}, {"key": "another network"}])
def test_a_checkpoint_that_does_not_fit_is_ignored(slot_steps: list[int], fields: dict[str, Any]) -> None:
    checkpoint = change(interrupt(seeded(Small), body("deep_dream"), IMAGES, after=9, batch=BATCH), **fields)
    slot_steps.clear()
    work(seeded(Small), body("deep_dream"), IMAGES, checkpoint=checkpoint, batch=BATCH)
    assert sum(slot_steps) == 6 * 3


def test_a_group_of_other_pairs_starts_again_and_finished_pairs_stay(slot_steps: list[int]) -> None:
    store: dict[str, bytes] = {}
    checkpoint = interrupt(seeded(Small), body("deep_dream"), IMAGES, after=9, store=store, batch=BATCH)
    pairs = json.loads(torch.load(io.BytesIO(checkpoint), weights_only=True)["pairs"])
    checkpoint = change(checkpoint, pairs=json.dumps(pairs | {"running": ["0/0"]}))
    slot_steps.clear()
    work(seeded(Small), body("deep_dream"), IMAGES, checkpoint=checkpoint, store=store, attempt="2", batch=BATCH)
    assert sum(slot_steps) == 6  # of the third image, from its first step


@pytest.mark.parametrize(("pairs", "saves"), [(30, True), (40, False)])
def test_a_shard_saves_animations_if_its_whole_job_is_small(pairs: int, saves: bool) -> None:
    with open_job(seeded(Small), body("fool"), IMAGES[:1]) as (method, context):
        place = ShardPlace(0, 14, ImageRange(0, 1), pairs)
        run_alone(method.run(replace(context, place=place)))
        assert any(name.endswith(".gif") for name in context.output.keys) is saves
