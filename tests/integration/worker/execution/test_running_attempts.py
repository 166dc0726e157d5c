"""Ends of attempts: retries, failures of the store, and results that are stored only once."""

import time
from typing import Any

import pytest

from archetype.contract.job import Job, State
from archetype.contract.request import Audit
from shared.errors import Unavailable
from shared.queue.lanes import name_lane
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.uploads import Uploads
from tests.support.lane_workplace import LaneWorkplace
from worker.execution import complete
from worker.execution.lane_runner import run_next_lane


def test_a_job_that_always_runs_out_of_memory_fails_after_three_attempts(lanes: LaneWorkplace) -> None:
    greedy, other = lanes.submit([0], model="greedy"), lanes.submit([0])
    lanes.work()
    failed = lanes.result(greedy)
    assert (failed.state, failed.attempt, failed.error.type) == (State.FAILED, 3, "/problems/out-of-memory")
    assert lanes.result(other).state is State.SUCCEEDED


def test_a_store_that_fails_while_a_result_is_written_costs_no_attempt(
    lanes: LaneWorkplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = lanes.submit([0])
    plain, calls = JobStore.save_manifest, []

    def save_manifest(self: JobStore, manifest: Manifest) -> None:
        calls.append(manifest)
        if len(calls) == 1:
            raise Unavailable("the object store does not answer")
        plain(self, manifest)

    monkeypatch.setattr(JobStore, "save_manifest", save_manifest)
    woken: list[str] = []
    monkeypatch.setattr(JobStore, "load_spec", lambda *_: (_ for _ in ()).throw(Unavailable("away")))
    assert run_next_lane(lanes.worker_context(), lambda: woken.append("another worker")) is False
    assert woken == []  # other workers would fail as well
    monkeypatch.undo()
    monkeypatch.setattr(JobStore, "save_manifest", save_manifest)
    assert lanes.end_waits() == 1
    assert run_next_lane(lanes.worker_context()) is False
    assert len(calls) == 1
    assert (lanes.job_index.find(job_id).state, lanes.job_index.find(job_id).attempt) == (State.QUEUED, 0)
    lanes.work()
    assert lanes.result(job_id).state is State.SUCCEEDED


def test_a_store_that_does_not_answer_for_a_while_is_no_error_of_an_audit(
    lanes: LaneWorkplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = lanes.upload(seed=1)
    plan = {"name": "nightly", "probes": [{"id": probe, "target": 0}], "baselines": []}
    audit = Audit.model_validate({"model": "grey@1", "plan": plan, "baselines": [], "members": {}})
    job_id = lanes.place(audit.model_dump(mode="json"), name_lane(audit, "grey@1"))
    monkeypatch.setattr(Uploads, "load_image", lambda *_: (_ for _ in ()).throw(Unavailable("away")))
    for _ in range(lanes.settings.max_attempts + 1):
        assert run_next_lane(lanes.worker_context()) is False
    waiting = lanes.job_index.find(job_id)
    assert (waiting.state, waiting.attempt) == (State.QUEUED, 0)
    monkeypatch.undo()
    lanes.work()
    ended = lanes.result(job_id)
    assert ended.state is State.SUCCEEDED, ended.error
    assert ended.metrics["errors"] == []


def test_a_job_ends_once_although_two_attempts_reach_its_end(
    lanes: LaneWorkplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second attempt finds the manifest of the first attempt, and uses it."""
    job_id = lanes.submit([0])
    plain = complete.finish_job

    def die_after_the_manifest(
        claims: Any, storage: JobStore, outbox: Any, claim: Any, job: Job, keys: Any = None
    ) -> Job:
        storage.save_manifest(Manifest(job=job, fence=claim.fence, keys=dict(keys or {})))
        raise KeyboardInterrupt

    monkeypatch.setattr(complete, "finish_job", die_after_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        run_next_lane(lanes.worker_context())
    first = lanes.manifest(job_id)
    monkeypatch.setattr(complete, "finish_job", plain)
    lanes.lose_lease()
    started = time.monotonic()
    lanes.work()
    assert time.monotonic() - started < 5
    assert lanes.manifest(job_id) == first
    assert lanes.job_index.find(job_id).state is State.SUCCEEDED
    assert lanes.job_index.find_manifest_fence(job_id) == first.fence
