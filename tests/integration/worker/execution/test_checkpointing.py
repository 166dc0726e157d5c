"""Checkpoints: attempts resume where earlier attempts ended."""

from typing import Any

import pytest

from archetype.contract.job import State
from tests.support.lane_workplace import QUICK, LaneWorkplace, assert_same_files
from worker.execution import prepare
from worker.execution.lane_runner import run_next_lane
from worker.execution.worker_context import WorkerContext


@pytest.mark.parametrize("params", [QUICK, QUICK | {"octaves": 2}, QUICK | {"keep": "best", "check_every": 3}], ids=str)
def test_a_worker_that_stops_returns_its_shards_and_the_next_worker_resumes_them(
    lanes: LaneWorkplace, at_step: Any, batches: list[int], params: dict[str, Any]
) -> None:
    plain = [lanes.submit([target], params=params) for target in (0, 1)]
    lanes.work()
    all_steps, batches[:] = len(batches), []
    jobs = [lanes.submit([target], params=params) for target in (0, 1)]
    at_step(all_steps + 7, lanes.stopping.set)
    run_next_lane(lanes.worker_context())
    queued = [lanes.job_index.find(job_id) for job_id in jobs]
    assert [(job.state, job.attempt) for job in queued] == [(State.QUEUED, 0)] * 2
    steps_before_stop = len(batches)
    lanes.stopping.clear()
    lanes.work()
    assert len(batches) <= all_steps + 1  # no step was computed twice
    assert steps_before_stop < all_steps
    for before, after in zip(plain, jobs, strict=True):
        assert lanes.result(after).attempt == 1
        assert lanes.files(before).keys() == lanes.files(after).keys()
        assert_same_files(lanes.files(before), lanes.files(after))


def test_an_attempt_resumes_from_the_checkpoint_of_an_attempt_that_died(
    lanes: LaneWorkplace, at_step: Any, batches: list[int]
) -> None:
    job_id = lanes.submit([0], model="slow")

    class Died(BaseException):
        pass

    def die() -> None:
        raise Died

    at_step(8, die)
    with pytest.raises(Died):
        run_next_lane(lanes.worker_context(checkpoint_seconds=0.3))
    lanes.lose_lease()
    batches.clear()
    lanes.work()
    assert lanes.result(job_id).attempt == 2
    assert 4 <= len(batches) < 12
    assert list(lanes.storage.bucket.keys(f"jobs/{job_id}/checkpoints/")) == []  # no attempt needs them


def test_an_unreadable_checkpoint_is_ignored_and_the_job_starts_again(
    lanes: LaneWorkplace, at_step: Any, batches: list[int]
) -> None:
    job_id = lanes.submit([0])
    at_step(4, lanes.stopping.set)
    run_next_lane(lanes.worker_context())
    lanes.stopping.clear()
    (key,) = lanes.storage.bucket.keys(f"jobs/{job_id}/checkpoints/")
    lanes.storage.bucket.put(key, b"not a checkpoint", media_type="text/plain")
    batches.clear()
    lanes.work()
    assert (lanes.result(job_id).state, len(batches)) == (State.SUCCEEDED, 12)


def test_a_job_that_runs_out_of_time_in_a_shared_batch_resumes_alone(lanes: LaneWorkplace, at_step: Any) -> None:
    jobs = [lanes.submit([target], model="slow") for target in (0, 1)]
    attempts: list[Any] = []
    plain = prepare.prepare

    def record_and_prepare(worker_context: WorkerContext, attempt: Any, order: Any, lane: Any) -> None:
        attempts.append(attempt)
        plain(worker_context, attempt, order, lane)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.execution.lane_runner.prepare", record_and_prepare)
        at_step(3, lambda: setattr(attempts[0].heartbeat, "_job_seconds", 0))
        lanes.work()
    assert [lanes.result(job_id).state for job_id in jobs] == [State.SUCCEEDED] * 2
    assert attempts[2].claim.lane == f"{attempts[0].claim.lane}!{jobs[0]}:0"
    assert lanes.result(jobs[0]).attempt == 1
