"""Stacks with several workers, and workers that stop or are killed."""

import json
import os
import signal
import time
from pathlib import Path

from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.request import ClassModel, ClassModelParameters
from deploy.local import run_stack
from shared.settings import Settings
from shared.state.redis_client import RedisClient
from shared.state.worker_registry import WORKERS, WorkerRegistry
from tests.support.waiting import wait_until


def wait_for_both(redis_client: RedisClient) -> None:
    """Waits until both workers are idle. Without a hint, Redis gives a job to the worker that has waited longest."""

    def is_registered() -> bool:
        with redis_client.connection() as redis:
            return redis.scard(WORKERS) == 2

    wait_until(is_registered, 90)
    time.sleep(2)


def test_a_job_goes_to_the_worker_that_has_loaded_its_model(tmp_path: Path) -> None:
    request = ClassModel(method="class_model", model="shapes", targets=["bee"], params=ClassModelParameters(steps=2))

    def run_job(client: Client) -> Job:
        job = client.wait(client.submit(request).id, timeout=90)
        assert job.state is State.SUCCEEDED, job.error
        time.sleep(0.5)  # until the worker has reported that it is idle
        return job

    with run_stack(tmp_path, Settings(cache=tmp_path / "cache"), workers=2) as stack, Client(stack.url) as client:
        redis_client = RedisClient(stack.settings)
        wait_for_both(redis_client)
        first = run_job(client)
        for _ in range(8):
            run_job(client)
        assert first.model == "shapes@1"
        assert sorted(map(len, list_loaded(redis_client))) == [0, 1]  # only one worker has loaded the model
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
    for job in client.watch(job_id, timeout=90):
        if job.progress.done >= steps:
            return
    raise AssertionError(f"the job ended before {steps} steps")


def test_a_stopped_worker_returns_its_job_and_the_next_worker_continues_it(tmp_path: Path) -> None:
    params = ClassModelParameters(steps=400, frames=2)
    request = ClassModel(method="class_model", model="shapes", targets=["bee", "lemon"], params=params)
    settings = Settings(cache=tmp_path / "cache", checkpoint_seconds=1000)
    with run_stack(tmp_path, settings) as stack, Client(stack.url) as client:
        job_id = client.submit(request).id
        wait_for_steps(client, job_id, 200)
        stack.processes.stop("worker")
        assert stack.processes.children["worker"].returncode == 0
        returned = client.job(job_id)
        assert (returned.state, returned.attempt) == (State.QUEUED, 0)
        stack.processes.start("worker")
        steps = [job.progress.done for job in client.watch(job_id, timeout=120) if job.state is State.RUNNING]
        ended = client.wait(job_id, timeout=120)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert min(steps) >= 200  # no step was repeated


def test_all_workers_work_on_a_job_with_many_targets(tmp_path: Path) -> None:
    params = ClassModelParameters(steps=60, extras=False, seeds=[0, 1, 2, 3])
    request = ClassModel(method="class_model", model="shapes", targets="all", params=params)
    with run_stack(tmp_path, Settings(cache=tmp_path / "cache"), workers=2) as stack, Client(stack.url) as client:
        wait_for_both(RedisClient(stack.settings))
        job = client.wait(client.submit(request).id, timeout=180)
        logs = [(tmp_path / "log" / f"{name}.log").read_text() for name in ("worker", "worker-2")]
    assert job.state is State.SUCCEEDED
    assert [len(target["tries"]) for target in job.metrics["targets"]] == [4] * 12
    assert all("job.claimed" in log for log in logs)


def test_a_job_succeeds_after_the_child_process_of_its_worker_was_killed(tmp_path: Path) -> None:
    params = ClassModelParameters(steps=400, frames=2)
    request = ClassModel(method="class_model", model="shapes", targets=["bee"], params=params)
    settings = Settings(cache=tmp_path / "cache", lease_seconds=2, sweep_seconds=0.5, checkpoint_seconds=0.5)
    with run_stack(tmp_path, settings) as stack, Client(stack.url) as client:
        job_id = client.submit(request).id
        wait_for_steps(client, job_id, 150)
        for pid in children_of(stack.processes.children["worker"].pid):
            os.kill(pid, signal.SIGKILL)
        ended = client.wait(job_id, timeout=120)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)


def children_of(pid: int) -> list[int]:
    """The child processes of a worker in which jobs run: those that its pool has spawned."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
