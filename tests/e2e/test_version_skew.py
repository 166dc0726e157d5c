"""Two versions side by side, as during an upgrade or a rollback: jobs in flight are not lost, in either direction.

The newer version is a copy of this one with an optional parameter more.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archetype.client import Client
from archetype.contract.job import State
from deploy.local import Stack, run_stack
from shared.settings import Settings
from tests.support.newer_version import NEWER_WORKER, copy_newer, post, run_newer_api, run_newer_worker

PLAIN: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 4}}
NOVEL: dict[str, Any] = PLAIN | {"params": {"steps": 4, "novelty": 1}}
LONG: dict[str, Any] = PLAIN | {"params": {"steps": 400, "frames": 2}}
OTHER_LANE: dict[str, Any] = PLAIN | {"params": {"steps": 400, "transforms": []}}
LONG_NOVEL: dict[str, Any] = PLAIN | {"params": {"steps": 400, "novelty": 1}}
SECONDS = 400
PROMPT_SECONDS = 60
"""Within this time a worker that is idle ends a job of some steps, whichever other workers run. It is long because a
job takes half a minute on a busy machine; `count_looks` says how often the job was kept from the worker."""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the newer version's code."""
    return copy_newer(tmp_path_factory.mktemp("newer") / "code")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The older version."""
    folder = tmp_path_factory.mktemp("older")
    settings = Settings(cache=folder / "cache", lease_seconds=5, sweep_seconds=0.5, checkpoint_seconds=1)
    with run_stack(folder / "stack", settings) as running:
        yield running


def wait_for_steps(client: Client, job_id: str, steps: int) -> None:
    for job in client.watch(job_id, timeout=SECONDS):
        if job.progress.done >= steps:
            return
    raise AssertionError(f"the job ended before {steps} steps")


def count_looks(stack: Stack, job_id: str) -> int:
    """How many times the older worker has found that it cannot read a job."""
    lines = stack.processes.log("worker").read_text().splitlines()
    return sum("job.newer" in line and job_id in line for line in lines)


@pytest.mark.timeout(900)
def test_an_older_worker_runs_what_a_newer_api_accepts_and_leaves_what_it_does_not_know(
    stack: Stack, newer: Path
) -> None:
    with run_newer_api(stack, newer) as url, Client(stack.url, timeout=60) as client:
        assert post(stack.url, NOVEL).status_code == 422  # the older version really does not know it
        before, novel, behind = (post(url, body).json()["id"] for body in (PLAIN, NOVEL, PLAIN))
        assert client.wait(before, timeout=SECONDS).state is State.SUCCEEDED
        assert client.wait(behind, timeout=SECONDS).state is State.SUCCEEDED
        until = time.monotonic() + 5
        while time.monotonic() < until:  # the worker looks at it again and again
            waiting = client.job(novel)
            assert (waiting.state, waiting.attempt, waiting.error) in (
                (State.QUEUED, 0, None),
                (State.RUNNING, 1, None),
            )
        with run_newer_worker(stack, newer):
            ended = client.wait(novel, timeout=SECONDS)  # the older worker runs, too
            for _ in range(4):
                job_id = post(url, NOVEL).json()["id"]
                assert client.wait(job_id, timeout=PROMPT_SECONDS).state is State.SUCCEEDED
                assert count_looks(stack, job_id) <= 2
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)


@pytest.mark.timeout(900)
def test_while_both_versions_run_each_job_runs_in_a_worker_that_can_read_it(stack: Stack, newer: Path) -> None:
    with run_newer_api(stack, newer) as url, Client(stack.url, timeout=60) as client:
        with run_newer_worker(stack, newer):
            client.wait(post(url, NOVEL).json()["id"], timeout=SECONDS)
            plain = [post(address, body).json()["id"] for address, body in ((stack.url, LONG), (url, OTHER_LANE))]
            assert [client.wait(job_id, timeout=SECONDS).state for job_id in plain] == [State.SUCCEEDED] * 2
            for name in ("worker", NEWER_WORKER):
                assert any(job_id in stack.processes.log(name).read_text() for job_id in plain), name
            novel = post(url, LONG_NOVEL).json()["id"]
            wait_for_steps(client, novel, 60)
        after = post(url, PLAIN).json()["id"]  # only the older worker runs
        assert client.wait(after, timeout=SECONDS).state is State.SUCCEEDED
        with run_newer_worker(stack, newer):
            steps = [job.progress.done for job in client.watch(novel, timeout=SECONDS) if job.state is State.RUNNING]
            ended = client.wait(novel, timeout=SECONDS)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert min(steps) >= 40  # nothing was computed again from the beginning


@pytest.mark.timeout(900)
def test_a_job_in_flight_goes_on_in_a_newer_worker_and_then_in_an_older_one(stack: Stack, newer: Path) -> None:
    with Client(stack.url, timeout=60) as client:
        job_id = post(stack.url, LONG).json()["id"]
        wait_for_steps(client, job_id, 60)
        stack.processes.stop("worker")
        with run_newer_worker(stack, newer):
            wait_for_steps(client, job_id, 160)
        stack.processes.start("worker")
        steps = [job.progress.done for job in client.watch(job_id, timeout=SECONDS) if job.state is State.RUNNING]
        ended = client.wait(job_id, timeout=SECONDS)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert min(steps) >= 100  # nothing was computed again from the beginning
