"""Interruption: cancelled, lost and hanging attempts end, and the rest of the batch goes on."""

import threading
from typing import Any

import pytest

from archetype.contract.job import State
from tests.support.lane_workplace import LaneWorkplace, assert_same_files
from tests.support.waiting import wait_until
from worker.execution.lane_runner import run_next_lane
from worker.execution.recovery import RecoveryThreads


def test_cancelling_a_job_changes_nothing_for_the_other_jobs_of_its_batch(lanes: LaneWorkplace, at_step: Any) -> None:
    jobs = [lanes.submit([target], model="slow") for target in (0, 1, 2)]
    at_step(3, lambda: lanes.claims.withdraw(jobs[1], "asked", "api"))
    lanes.work()
    assert [lanes.result(job_id).state for job_id in jobs] == [State.SUCCEEDED, State.CANCELLED, State.SUCCEEDED]
    assert lanes.result(jobs[1]).artifacts == []
    alone = lanes.submit([2], model="slow")
    lanes.work()
    assert_same_files(lanes.files(jobs[2]), lanes.files(alone))


def test_a_deadline_ends_only_its_own_job_in_a_shared_batch(lanes: LaneWorkplace, at_step: Any) -> None:
    jobs = [lanes.submit([target], model="slow") for target in (0, 1)]
    at_step(3, lambda: lanes.claims.withdraw(jobs[1], "deadline", "sweep"))
    lanes.work()
    late = lanes.result(jobs[1])
    assert (late.state, late.error.type) == (State.CANCELLED, "/problems/deadline-exceeded")
    assert lanes.result(jobs[0]).state is State.SUCCEEDED


def test_a_job_of_several_shards_is_cancelled_as_a_whole(lanes: LaneWorkplace, at_step: Any) -> None:
    job_id = lanes.submit([0, 1, 2], model="slow", params={"steps": 20, "seeds": [0, 1, 2, 3, 4]})
    at_step(2, lambda: lanes.claims.withdraw(job_id, "asked", "api"))
    lanes.work(lane_seconds=0)
    assert (lanes.result(job_id).state, lanes.claims.leases()) == (State.CANCELLED, {})


def test_a_step_that_hangs_ends_the_process(lanes: LaneWorkplace, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("worker.execution.heartbeat.os._exit", lambda code: (ended.append(code), lanes.stopping.set()))
    lanes.submit([0], model="slow", params={"steps": 20})
    monkeypatch.setattr("tests.support.networks.time.sleep", lambda _: threading.Event().wait(1.2))
    run_next_lane(lanes.worker_context(step_seconds=0.4))
    assert ended[0] == 70


def test_pauses_of_redis_that_are_longer_than_a_lease_are_no_attempts(lanes: LaneWorkplace, at_step: Any) -> None:
    """The worker and the recovery go on at the same time, and neither can tell the pause from the other's silence."""
    settings = lanes.settings.model_copy(update={"lease_seconds": 3, "sweep_seconds": 0.5})
    threads = RecoveryThreads(lanes.recovery(settings))
    job_id = lanes.submit([0], model="slow")
    beats: list[dict[str, str]] = [{}]

    def pause() -> None:
        wait_until(lambda: dict(lanes.claims.leases()) != beats[-1])
        beats.append(dict(lanes.claims.leases()))
        lanes.redis.execute_command("CLIENT", "PAUSE", 4500, "ALL")

    for step in (2, 4, 6):
        at_step(step, pause)
    threads.start()
    try:
        lanes.work()
    finally:
        threads.stop()
    ended = lanes.result(job_id)
    assert (ended.state, ended.attempt, len(beats)) == (State.SUCCEEDED, 1, 4)


def test_a_worker_that_has_lost_its_claim_writes_nothing(lanes: LaneWorkplace, at_step: Any) -> None:
    job_id = lanes.submit([0], model="slow")
    claims: list[Any] = []

    def lose() -> None:
        lanes.lose_lease()
        claims.append(lanes.claims.claim("another worker"))

    at_step(2, lose)
    run_next_lane(lanes.worker_context())
    assert lanes.job_index.find(job_id).state is State.RUNNING
    assert lanes.storage.load_manifest(job_id) is None
    assert claims[0].attempt == 2
