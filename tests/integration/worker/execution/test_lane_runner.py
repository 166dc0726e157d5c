"""The lane runner: which shards it claims, and for how long."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from archetype.contract.job import State
from tests.support.lane_workplace import LaneWorkplace
from worker.execution.lane_runner import run_next_lane


def test_a_lane_that_was_open_for_long_claims_no_more_and_another_lane_runs_next(
    lanes: LaneWorkplace, at_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]  # a step takes a tenth of a second on this clock, whatever the machine does meanwhile
    monkeypatch.setattr("worker.execution.lane_runner.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    popular = [lanes.submit([0], model="slow")]
    lonely = lanes.submit([0])

    def take_a_step() -> None:
        seconds[0] += 0.1
        if len(popular) < 24:
            popular.append(lanes.submit([0], model="slow"))

    for step in range(1, 300):
        at_step(step, take_a_step)
    run_next_lane(lanes.worker_context(lane_seconds=1.05))
    served = [lanes.job_index.find(job_id).state for job_id in popular]
    assert 8 <= served.count(State.SUCCEEDED) <= 12  # those that came within the first eleven steps
    run_next_lane(lanes.worker_context(lane_seconds=1.0))
    assert lanes.result(lonely).state is State.SUCCEEDED
    lanes.work()
    assert all(lanes.result(job_id).state is State.SUCCEEDED for job_id in popular)


def test_a_job_of_a_newer_version_returns_to_the_queue_without_counting_an_attempt(lanes: LaneWorkplace) -> None:
    job_id = lanes.submit([1])
    newer = json.loads(lanes.storage.load_spec(job_id)) | {"format": 99, "shape": "unknown"}
    lanes.storage.bucket.put(f"jobs/{job_id}/request.json", json.dumps(newer).encode(), media_type="application/json")
    assert run_next_lane(lanes.worker_context()) is False  # no other worker is woken for it
    job = lanes.job_index.find(job_id)
    assert job is not None
    assert (job.state, job.attempt) == (State.QUEUED, 0)
    behind = lanes.submit([2])
    for _ in range(4):  # it is claimed again and again, and delays no other job
        run_next_lane(lanes.worker_context())
    assert lanes.result(behind).state is State.SUCCEEDED
    assert lanes.job_index.find(job_id).state is State.QUEUED
    lanes = lanes.redis.zrange("archetype:lanes:interactive", 0, -1)
    assert [lane.decode().count("!") for lane in lanes] == [1]
