"""Stacks with several workers, and workers that stop or are killed."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.request import ClassModel, ClassModelParameters
from deploy.local import Stack, run_stack
from shared.settings import Settings
from shared.state.redis_client import RedisClient
from shared.state.worker_registry import WORKERS, WorkerRegistry
from tests.support.slow_network import SLOW, draw_slowly
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with two workers."""
    folder = tmp_path_factory.mktemp("pair")
    with run_stack(folder, Settings(**SLOW, cache=folder / "cache"), workers=2) as stack:
        yield stack


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with one worker, which tests may stop. It saves checkpoints only when it is stopped."""
    folder = tmp_path_factory.mktemp("single")
    settings = Settings(**SLOW, cache=folder / "cache", sweep_seconds=0.5, checkpoint_seconds=1000)
    with run_stack(folder, settings) as stack:
        yield stack


def wait_for_both(redis_client: RedisClient) -> None:
    """Waits until both workers are idle. Without a hint, Redis gives a job to the worker that has waited longest."""

    def is_registered() -> bool:
        with redis_client.connection() as redis:
            return redis.scard(WORKERS) == 2

    wait_until(is_registered, 90)
    time.sleep(2)


def test_a_job_goes_to_the_worker_that_has_loaded_its_model(pair: Stack) -> None:
    params = ClassModelParameters(steps=2, extras=False)
    request = ClassModel(method="class_model", model="shapes", targets=["bee"], params=params)

    def run_job(client: Client) -> Job:
        job = client.wait(client.submit(request).id, timeout=400)
        assert job.state is State.SUCCEEDED, job.error
        time.sleep(0.5)  # until the worker has reported that it is idle
        return job

    with Client(pair.url) as client:
        redis_client = RedisClient(pair.settings)
        wait_for_both(redis_client)
        first = run_job(client)
        for _ in range(8):
            run_job(client)
        assert first.model == "shapes@1"
        loaded = [any(name.startswith("shapes@1") for name in names) for names in list_loaded(redis_client)]
        assert sorted(loaded) == [False, True]  # only one worker has loaded the model
        worker_registry = WorkerRegistry(redis_client)
        assert worker_registry.find_idle("other@1") is None
        assert worker_registry.find_idle("shapes@1") is not None
        assert worker_registry.find_idle("shapes@1") is None  # counts as busy, because it was just returned
        run_job(client)  # goes to any worker


def list_loaded(redis_client: RedisClient) -> list[list[str]]:
    """The loaded releases of each worker."""
    with redis_client.connection() as redis:
        entries = [redis.get(f"archetype:worker:{worker}") for worker in redis.smembers(WORKERS)]
    return [json.loads(entry)["releases"] for entry in entries]


def wait_for_steps(client: Client, job_id: str, steps: int) -> None:
    for job in client.watch(job_id, timeout=400):
        if job.progress.done >= steps:
            return
    raise AssertionError(f"the job ended before {steps} steps")


def test_a_stopped_worker_returns_its_job_and_the_next_worker_continues_it(single: Stack) -> None:
    with Client(single.url) as client:
        job_id = client.submit(draw_slowly(80, targets=(0, 1))).id
        wait_for_steps(client, job_id, 30)
        single.processes.stop("worker")
        assert single.processes.children["worker"].returncode == 0
        returned = client.job(job_id)
        assert (returned.state, returned.attempt) == (State.QUEUED, 0)
        single.processes.start("worker")
        steps = [job.progress.done for job in client.watch(job_id, timeout=400) if job.state is State.RUNNING]
        ended = client.wait(job_id, timeout=400)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert min(steps) >= 30  # no step was repeated


def test_all_workers_work_on_a_job_with_many_targets(pair: Stack) -> None:
    """Its shards are more than one worker runs in a batch."""
    with Client(pair.url) as client:
        wait_for_both(RedisClient(pair.settings))
        request = draw_slowly(100, targets=range(3), seeds=list(range(16)))
        job = client.wait(client.submit(request).id, timeout=400)
    claims = [
        [line for line in pair.processes.log(name).read_text().splitlines() if "job.claimed" in line and job.id in line]
        for name in ("worker", "worker-2")
    ]
    assert job.state is State.SUCCEEDED
    assert [len(target["tries"]) for target in job.metrics["targets"]] == [16] * 3
    assert all(claims)


@pytest.mark.slow
def test_a_job_succeeds_after_the_child_process_of_its_worker_was_killed(single: Stack) -> None:
    with Client(single.url) as client:
        job_id = client.submit(draw_slowly(80)).id
        wait_for_steps(client, job_id, 20)
        for pid in children_of(single.processes.children["worker"].pid):
            os.kill(pid, signal.SIGKILL)
        ended = client.wait(job_id, timeout=400)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)


def children_of(pid: int) -> list[int]:
    """The child processes of a worker in which jobs run: those that its pool has spawned."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
