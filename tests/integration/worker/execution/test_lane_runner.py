"""The lane runner: which shards it claims, and for how long."""

import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from archetype.contract.job import State
from shared.queue.claims import Claims
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
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


@pytest.fixture
def claims_at(lanes: LaneWorkplace, at_step: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the worker asked for a shard, in seconds, on a clock on which a step takes ten milliseconds."""
    seconds, asked = [0.0], list[float]()
    monkeypatch.setattr("worker.execution.lane_runner.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    claim = Claims.claim

    def note_and_claim(self: Claims, owner: str, **options: Any) -> Any:
        asked.append(seconds[0])
        return claim(self, owner, **options)

    def take_a_step() -> None:
        seconds[0] += 0.01

    monkeypatch.setattr(Claims, "claim", note_and_claim)
    for step in range(1000):
        at_step(step, take_a_step)
    return asked


def test_a_worker_asks_redis_for_more_at_most_twice_per_second_while_its_lane_is_empty(
    lanes: LaneWorkplace, claims_at: list[float]
) -> None:
    lanes.submit([0], params={"steps": 500, "extras": False})
    run_next_lane(lanes.worker_context())
    assert len([moment for moment in claims_at if 1 <= moment < 4]) <= 6  # of three hundred steps


def test_a_job_joins_a_running_batch_within_half_a_second(
    lanes: LaneWorkplace, claims_at: list[float], batches: list[int], at_step: Any
) -> None:
    lanes.submit([0], params={"steps": 500, "extras": False})
    at_step(300, lambda: lanes.submit([1], params={"steps": 500, "extras": False}))
    run_next_lane(lanes.worker_context())
    assert claims_at
    assert 300 < batches.index(2) <= 300 + 50 + 1


def test_the_batch_goes_on_while_requests_are_read_and_results_are_stored(
    lanes: LaneWorkplace, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store hangs for the request of one job and the manifest of another, until a third one has ended."""
    ended = threading.Event()
    stored, unread = lanes.submit([0], params={"steps": 2}), lanes.submit([1], params={"steps": 2})
    long = lanes.submit([2], params={"steps": 40})
    save, load = JobStore.save_manifest, JobStore.load_spec

    def save_manifest(self: JobStore, manifest: Manifest) -> None:
        if manifest.job.id == long:
            ended.set()
        assert manifest.job.id != stored or ended.wait(60)
        save(self, manifest)

    def load_spec(self: JobStore, job_id: str) -> bytes:
        assert job_id != unread or ended.wait(60)
        return load(self, job_id)

    monkeypatch.setattr(JobStore, "save_manifest", save_manifest)
    monkeypatch.setattr(JobStore, "load_spec", load_spec)
    run_next_lane(lanes.worker_context())
    assert [lanes.result(job_id).state for job_id in (stored, unread, long)] == [State.SUCCEEDED] * 3
    assert lanes.result(stored).attempt == 1
    assert len(batches) >= 40


def test_a_worker_that_stops_stores_the_results_that_are_complete(
    lanes: LaneWorkplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = lanes.submit([0], params={"steps": 2}), lanes.submit([2], params={"steps": 4000})
    save = JobStore.save_manifest

    def stop_and_save(self: JobStore, manifest: Manifest) -> None:
        lanes.stopping.set()
        time.sleep(0.5)
        save(self, manifest)

    monkeypatch.setattr(JobStore, "save_manifest", stop_and_save)
    run_next_lane(lanes.worker_context())
    waiting = lanes.job_index.find(long)
    assert waiting is not None
    assert (lanes.result(short).state, waiting.state) == (State.SUCCEEDED, State.QUEUED)


def test_a_worker_claims_nothing_more_while_many_results_wait_for_the_store(
    lanes: LaneWorkplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.execution.lane_runner.MAX_STORING", 1)
    jobs = [lanes.submit([0], params={"steps": 2}) for _ in range(40)]
    at_once: list[int] = []
    save = JobStore.save_manifest

    def count_and_save(self: JobStore, manifest: Manifest) -> None:
        at_once.append(sum(job.state is State.RUNNING for job_id in jobs if (job := lanes.job_index.find(job_id))))
        time.sleep(0.05)
        save(self, manifest)

    monkeypatch.setattr(JobStore, "save_manifest", count_and_save)
    run_next_lane(lanes.worker_context())
    assert [lanes.result(job_id).state for job_id in jobs] == [State.SUCCEEDED] * 40
    assert max(at_once) <= 8  # the batch of this workplace


def test_a_worker_leaves_its_lane_when_another_tenant_has_waited(
    lanes: LaneWorkplace, at_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr("worker.execution.lane_runner.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    popular = [lanes.submit([0], model="slow")]
    lonely: list[str] = []

    def take_a_step() -> None:
        seconds[0] += 1
        if len(popular) < 60:
            popular.append(lanes.submit([0], model="slow"))
        if not lonely:
            lonely.append(lanes.submit([0], tenant="other"))
        elif lanes.redis.hexists("archetype:turns:interactive:times", "other"):
            lanes.redis.hincrby("archetype:turns:interactive:times", "other", -10_000)  # it has waited

    for step in range(1, 600):
        at_step(step, take_a_step)
    run_next_lane(lanes.worker_context(lane_seconds=10_000))
    served = [lanes.job_index.find(job_id).state for job_id in popular]
    assert set(served) == {State.SUCCEEDED, State.QUEUED}
    assert served.count(State.SUCCEEDED) < 30
    run_next_lane(lanes.worker_context(lane_seconds=0))
    assert lanes.result(lonely[0]).state is State.SUCCEEDED


def test_a_request_with_an_unknown_parameter_returns_to_the_queue_and_is_not_called_invalid(
    lanes: LaneWorkplace,
) -> None:
    request = {"method": "class_model", "model": "grey@1", "targets": [1], "params": {"steps": 4}}
    job_id = lanes.place(request | {"params": {"steps": 4, "unheard_of": 1}}, "grey@1/class_model")
    run_next_lane(lanes.worker_context())
    waiting = lanes.job_index.find(job_id)
    assert waiting is not None
    assert (waiting.state, waiting.attempt) == (State.QUEUED, 0)
    readable = json.loads(lanes.storage.load_spec(job_id)) | {"request": request}
    lanes.storage.bucket.put(
        f"jobs/{job_id}/request.json", json.dumps(readable).encode(), media_type="application/json"
    )
    lanes.work()
    assert lanes.result(job_id).state is State.SUCCEEDED


def test_a_job_of_a_newer_version_returns_to_the_queue_without_counting_an_attempt(lanes: LaneWorkplace) -> None:
    job_id = lanes.submit([1])
    newer = json.loads(lanes.storage.load_spec(job_id)) | {"format": 99, "shape": "unknown"}
    lanes.storage.bucket.put(f"jobs/{job_id}/request.json", json.dumps(newer).encode(), media_type="application/json")
    run_next_lane(lanes.worker_context())
    assert not lanes.claims.is_waiting()  # no other worker is woken for it
    job = lanes.job_index.find(job_id)
    assert job is not None
    assert (job.state, job.attempt) == (State.QUEUED, 0)
    spec = {name: value for name, value in newer.items() if name != "shape"} | {"format": 2}
    lanes.storage.bucket.put(f"jobs/{job_id}/request.json", json.dumps(spec).encode(), media_type="application/json")
    lanes.work()  # as if the worker was upgraded
    assert lanes.result(job_id).state is State.SUCCEEDED


def test_sixty_jobs_of_a_newer_version_delay_an_interactive_job_by_no_turn(lanes: LaneWorkplace) -> None:
    newer = [lanes.submit([1], model=model) for model in ("grey", "slow") for _ in range(30)]
    for job_id in newer:
        spec = json.loads(lanes.storage.load_spec(job_id)) | {"format": 99, "shape": "unknown"}
        key = f"jobs/{job_id}/request.json"
        lanes.storage.bucket.put(key, json.dumps(spec).encode(), media_type="application/json")
    behind = lanes.submit([2])
    while lanes.claims.is_waiting():
        assert run_next_lane(lanes.worker_context()) is True  # the worker goes on at once
    assert lanes.result(behind).state is State.SUCCEEDED
    assert {lanes.job_index.find(job_id).state for job_id in newer} == {State.QUEUED}
    assert {lanes.job_index.find(job_id).attempt for job_id in newer} == {0}
