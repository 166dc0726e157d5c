"""Messages may be lost, arrive twice, or name jobs that have ended: every job still ends once."""

import time

import pytest
import redis
import torch

from archetype.client import Client
from archetype.contract.job import State
from deploy.local import Stack
from shared.catalogue.catalogue import load_catalogue
from shared.queue.celery_app import RUN, send_job
from shared.queue.claims import Claims
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox
from shared.storage.s3 import Bucket
from tests.support.backdoor import Backdoor, paused_workers
from tests.support.jobs import place
from worker.execution.lane_runner import run_next_lane
from worker.execution.worker_context import WorkerContext
from worker.models.loader import Loader, ModelCache
from worker.models.plan_cache import PlanCache


@pytest.fixture
def backdoor(stack: Stack) -> Backdoor:
    return Backdoor(stack)


def test_a_message_for_a_job_that_does_not_exist_has_no_effect(client: Client, backdoor: Backdoor) -> None:
    send_job(backdoor.broker, new_job_id(), "interactive")
    job_id = backdoor.submit()
    assert client.wait(job_id, timeout=400).state is State.SUCCEEDED


def test_a_job_whose_message_arrives_several_times_runs_once(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.submit()
    for _ in range(3):
        send_job(backdoor.broker, job_id, "interactive")
    ended = client.wait(job_id, timeout=400)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    prefixes = {key.split("/")[3] for key in backdoor.storage.bucket.keys(f"jobs/{job_id}/attempts/")}
    assert len(prefixes) == 1


def test_the_message_of_a_job_is_sent_again_if_it_was_lost(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.submit(send=False)
    assert client.wait(job_id, timeout=400).state is State.SUCCEEDED


def test_a_message_of_a_newer_version_wakes_a_worker_that_runs_other_jobs(client: Client, backdoor: Backdoor) -> None:
    job_id = backdoor.submit(send=False)
    backdoor.broker.send_task(RUN, args=[{"format": 2, "job": job_id}], kwargs={"new": True}, queue="interactive")
    assert client.wait(job_id, timeout=400).state is State.SUCCEEDED


def test_a_job_whose_worker_stops_responding_runs_in_another_worker(
    client: Client, backdoor: Backdoor, stack: Stack
) -> None:
    with paused_workers(stack):
        job_id = backdoor.submit(send=False, lane="silent")
        backdoor.claim(job_id, "silent")
    ended = client.wait(job_id, timeout=400)
    assert (ended.state, ended.attempt, client.job(job_id).artifacts != []) == (State.SUCCEEDED, 2, True)


def test_a_job_with_a_manifest_is_not_run_again_if_its_worker_died_before_ending_it(
    client: Client, backdoor: Backdoor, stack: Stack
) -> None:
    with paused_workers(stack):
        job_id = backdoor.submit(send=False, lane="dying")
        claim = backdoor.claim(job_id, "dying")
    live = backdoor.job_index.find(job_id)
    job = live.model_copy(update={"state": State.SUCCEEDED, "metrics": {"kept": True}})
    backdoor.storage.save_manifest(Manifest(job=job, fence=claim.fence))
    limit = time.monotonic() + 60
    while backdoor.job_index.find(job_id).state is not State.SUCCEEDED:
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert client.job(job_id).metrics == {"kept": True}
    assert list(backdoor.storage.bucket.keys(f"jobs/{job_id}/attempts/")) == []
    assert job_id not in backdoor.storage.list_open()


def test_finished_jobs_are_found_by_id_after_redis_has_lost_them(
    stack: Stack, client: Client, backdoor: Backdoor
) -> None:
    job_id = backdoor.submit()
    before = client.wait(job_id, timeout=400)
    redis.Redis.from_url(stack.settings.redis_url).delete(f"archetype:job:{job_id}")
    assert client.job(job_id) == before
    assert client.fetch(before.artifacts[0]).startswith(b"\x89PNG")


def test_a_store_that_does_not_answer_costs_a_job_no_attempt(stack: Stack) -> None:
    url = stack.settings.redis_url.removesuffix("/0") + "/5"
    settings = stack.settings.model_copy(update={"redis_url": url, "s3_endpoint": "http://127.0.0.1:1"})
    redis_client, cpu = RedisClient(settings), torch.device("cpu")
    worker_context = WorkerContext(
        settings=settings,
        redis_client=redis_client,
        job_index=JobIndex(redis_client),
        locks=Locks(redis_client),
        claims=Claims(redis_client),
        storage=JobStore(Bucket(settings)),
        outbox=Outbox(redis_client, Bucket(settings)),
        catalogue=load_catalogue(None),
        networks=ModelCache(Loader(), device=cpu),
        plans=PlanCache(None),
        device=cpu,
    )
    job = place(worker_context.claims)
    for _ in range(4):
        assert run_next_lane(worker_context) is False
        record = worker_context.job_index.find(job.id)
        assert (record.state, record.attempt) == (State.QUEUED, 0)
    redis.Redis.from_url(url).flushdb()
