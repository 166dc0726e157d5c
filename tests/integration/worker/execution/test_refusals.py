"""A store that refuses the objects of one job, or of all: the one job fails with the reason, and delays no other."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from archetype.contract.job import Job, State
from deploy.local import Stack
from tests.chaos.proxy import Fault, Proxy
from tests.support.lane_workplace import LaneWorkplace
from worker.execution.lane_runner import run_next_lane

SHARDED: dict[str, Any] = {"steps": 6, "seeds": [0, 1, 2, 3, 4]}


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> Iterator[Proxy]:
    with Proxy() as made:
        made.upstream = urlsplit(stack.settings.s3_endpoint or "").netloc
        yield made


@pytest.fixture
def lanes(stack: Stack, proxy: Proxy, tmp_path: Path) -> Iterator[LaneWorkplace]:
    """A worker whose store can refuse calls."""
    changes = {"s3_endpoint": proxy.url, "lease_seconds": 600}  # a slow machine renews leases late
    settings = stack.settings.model_copy(update=changes)
    workplace = LaneWorkplace(replace(stack, settings=settings), tmp_path)
    yield workplace
    workplace.redis.flushdb()


def find(lanes: LaneWorkplace, job_id: str) -> Job:
    job = lanes.job_index.find(job_id)
    assert job is not None
    return job


def check_failure(job: Job) -> None:
    assert job.state is State.FAILED
    assert job.error is not None
    assert job.error.type == "/problems/refused-by-store"
    assert "AccessDenied" in job.error.detail
    assert "correct its policy" in job.error.detail


@pytest.mark.parametrize("params", [{"steps": 6}, SHARDED], ids=["one shard", "two shards"])
def test_a_job_whose_objects_are_all_refused_fails_with_the_reason_and_delays_no_other(
    lanes: LaneWorkplace, proxy: Proxy, params: dict[str, Any]
) -> None:
    refused, other = lanes.submit([0, 1], params=params), lanes.submit([1], params=params)
    with proxy.fault(Fault(keys=f"jobs/{refused}/.*", status=403)):
        run_next_lane(lanes.worker_context())
        assert lanes.result(other).state is State.SUCCEEDED  # after one turn
        lanes.work()
        check_failure(find(lanes, refused))
    assert lanes.job_index.find_manifest_fence(refused) == 0  # its end is in Redis alone
    assert refused not in lanes.storage.list_open()
    assert list(lanes.claims.leases()) == []
    assert lanes.redis.keys("archetype:share:*") == []


def test_a_job_whose_results_are_refused_has_a_manifest_with_the_reason(lanes: LaneWorkplace, proxy: Proxy) -> None:
    refused = lanes.submit([0])
    with proxy.fault(Fault(methods="PUT", keys=f"jobs/{refused}/attempts/.*", status=403)):
        lanes.work()
    check_failure(lanes.result(refused))
    assert lanes.result(refused).attempt == lanes.settings.max_attempts


@pytest.mark.parametrize("params", [{"steps": 6}, SHARDED], ids=["one shard", "two shards"])
def test_a_store_that_refuses_the_objects_of_all_jobs_fails_none(
    lanes: LaneWorkplace, proxy: Proxy, params: dict[str, Any]
) -> None:
    job_id = lanes.submit([0, 1], params=params)
    with proxy.fault(Fault(keys="jobs/.*", status=403)):
        for _ in range(2 * lanes.settings.max_attempts + 2):
            run_next_lane(lanes.worker_context())
            assert lanes.end_waits()
        assert find(lanes, job_id).state is State.QUEUED
    lanes.work()
    assert lanes.result(job_id).state is State.SUCCEEDED


@pytest.mark.parametrize("status", [403, 503])
def test_a_job_that_the_store_refuses_is_not_claimed_again_at_once(
    lanes: LaneWorkplace, proxy: Proxy, status: int
) -> None:
    job_id = lanes.submit([0])
    with proxy.fault(Fault(keys=f"jobs/{job_id}/.*", status=status)):
        run_next_lane(lanes.worker_context())
    assert not lanes.claims.is_waiting()
    assert find(lanes, job_id).state is State.QUEUED
    lanes.work()
    assert lanes.result(job_id).state is State.SUCCEEDED
