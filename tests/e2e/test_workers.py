"""More than one worker."""

import json
import os
import signal
import time
from pathlib import Path

from deploy.local import run_stack
from shared.client import Client
from shared.jobs import Job, State
from shared.methods import ClassModel, ClassModelParameters
from shared.presence import WORKERS, Presence
from shared.records import Records
from shared.settings import Settings


def wait_for_both(records: Records) -> None:
    """Until both wait for jobs: whichever was asked longest ago would get the next one, were it not for the hint."""
    limit = time.monotonic() + 90
    while True:
        with records.connection() as redis:
            if redis.scard(WORKERS) == 2:
                break
        assert time.monotonic() < limit
        time.sleep(0.2)
    time.sleep(2)


def test_a_job_goes_to_the_worker_that_holds_its_network(tmp_path: Path) -> None:
    request = ClassModel(method="class_model", model="shapes", targets=["bee"], params=ClassModelParameters(steps=2))

    def ask(client: Client) -> Job:
        job = client.wait(client.submit(request).id, timeout=90)
        assert job.state is State.SUCCEEDED, job.error
        time.sleep(0.5)  # until the worker has said that it is idle
        return job

    with run_stack(tmp_path, Settings(cache=tmp_path / "cache"), workers=2) as stack, Client(stack.url) as client:
        records = Records(stack.settings)
        wait_for_both(records)
        first = ask(client)
        for _ in range(8):
            ask(client)
        assert first.model == "shapes@1"
        assert sorted(map(len, list_loaded(records))) == [0, 1]  # only one of them has ever loaded it
        presence = Presence(records)
        assert presence.find_idle("other@1") is None
        assert presence.find_idle("shapes@1") is not None
        assert presence.find_idle("shapes@1") is None  # it was just given a job, as far as is known
        ask(client)  # which goes to whoever is there


def list_loaded(records: Records) -> list[list[str]]:
    """What each worker holds."""
    with records.connection() as redis:
        entries = [redis.get(f"archetype:worker:{worker}") for worker in redis.smembers(WORKERS)]
    return [json.loads(entry)["releases"] for entry in entries]


def wait_for_steps(client: Client, job_id: str, steps: int) -> None:
    for job in client.watch(job_id, timeout=90):
        if job.progress.done >= steps:
            return
    raise AssertionError(f"it ended before {steps} steps")


def test_a_worker_that_is_told_to_stop_gives_its_job_back_and_the_next_goes_on(tmp_path: Path) -> None:
    params = ClassModelParameters(steps=400, frames=2)
    request = ClassModel(method="class_model", model="shapes", targets=["bee", "lemon"], params=params)
    settings = Settings(cache=tmp_path / "cache", checkpoint_seconds=1000)
    with run_stack(tmp_path, settings) as stack, Client(stack.url) as client:
        job_id = client.submit(request).id
        wait_for_steps(client, job_id, 200)
        stack.family.stop("worker")
        assert stack.family.children["worker"].returncode == 0
        given_back = client.job(job_id)
        assert (given_back.state, given_back.attempt) == (State.QUEUED, 0)
        stack.family.start("worker")
        steps = [job.progress.done for job in client.watch(job_id, timeout=120) if job.state is State.RUNNING]
        ended = client.wait(job_id, timeout=120)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert min(steps) >= 200  # nothing was done twice


def test_a_job_of_many_targets_is_worked_on_by_every_worker(tmp_path: Path) -> None:
    params = ClassModelParameters(steps=60, extras=False, seeds=[0, 1, 2, 3])
    request = ClassModel(method="class_model", model="shapes", targets="all", params=params)
    with run_stack(tmp_path, Settings(cache=tmp_path / "cache"), workers=2) as stack, Client(stack.url) as client:
        wait_for_both(Records(stack.settings))
        job = client.wait(client.submit(request).id, timeout=180)
        logs = [(tmp_path / "log" / f"{name}.log").read_text() for name in ("worker", "worker-2")]
    assert job.state is State.SUCCEEDED
    assert [len(target["tries"]) for target in job.metrics["targets"]] == [4] * 12
    assert all("job.claimed" in log for log in logs)


def test_a_worker_child_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    params = ClassModelParameters(steps=400, frames=2)
    request = ClassModel(method="class_model", model="shapes", targets=["bee"], params=params)
    settings = Settings(cache=tmp_path / "cache", lease_seconds=2, sweep_seconds=0.5, checkpoint_seconds=0.5)
    with run_stack(tmp_path, settings) as stack, Client(stack.url) as client:
        job_id = client.submit(request).id
        wait_for_steps(client, job_id, 150)
        for pid in children_of(stack.family.children["worker"].pid):
            os.kill(pid, signal.SIGKILL)
        ended = client.wait(job_id, timeout=120)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)


def children_of(pid: int) -> list[int]:
    """The processes of a worker that work: those that its pool has spawned."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
