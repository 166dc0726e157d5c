"""Two versions side by side, as during an upgrade or a rollback: jobs in flight are not lost, in either direction.

The newer version is a copy of this one with an optional parameter more.
"""

import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from archetype.client import Client
from archetype.contract.job import State
from deploy.local import API, WORKER, Stack, make_environment, run_stack
from deploy.servers import HOST, free_port
from shared.settings import Settings
from tests.support.paths import ROOT

PLAIN: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 4}}
NOVEL: dict[str, Any] = PLAIN | {"params": {"steps": 4, "novelty": 1}}
LONG: dict[str, Any] = PLAIN | {"params": {"steps": 400, "frames": 2}}
PLACE = "    preset: Preset = Field("
NOVELTY = '    novelty: float = Field(default=0.0, ge=0, description="What only the newer version has.")\n'
SECONDS = 240


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The folder of the newer version's code."""
    folder = tmp_path / "newer"
    for package in ("sdk", "shared", "api", "worker", "deploy"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    parameters = folder / "sdk" / "archetype" / "contract" / "parameters" / "class_model.py"
    assert parameters.read_text().count(PLACE) == 1
    parameters.write_text(parameters.read_text().replace(PLACE, NOVELTY + PLACE))
    return folder


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """The older version."""
    settings = Settings(cache=tmp_path / "cache", lease_seconds=5, sweep_seconds=0.5, checkpoint_seconds=1)
    with run_stack(tmp_path / "stack", settings) as running:
        yield running


@contextmanager
def run_newer(stack: Stack, code: Path, name: str, command: list[str]) -> Iterator[None]:
    """Runs a part of the newer version beside the older one."""
    env = make_environment(stack.settings)
    env["PYTHONPATH"] = f"{code}:{code / 'sdk'}:{env['PYTHONPATH']}"
    with stack.processes.run(name, command, env):
        yield


@contextmanager
def run_newer_worker(stack: Stack, code: Path) -> Iterator[None]:
    with run_newer(stack, code, "newer-worker", [*WORKER, "--hostname", "newer@%h"]):
        yield


@contextmanager
def run_newer_api(stack: Stack, code: Path) -> Iterator[str]:
    url = f"http://{HOST}:{(port := free_port())}"
    with run_newer(stack, code, "newer-api", [*API, "--bind", f"{HOST}:{port}"]):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        stack.processes.wait_for("newer-api", lambda: opener.open(f"{url}/readyz", timeout=5).close())
        yield url


def post(url: str, body: dict[str, Any]) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/jobs", json=body, timeout=60)


def wait_for_steps(client: Client, job_id: str, steps: int) -> None:
    for job in client.watch(job_id, timeout=SECONDS):
        if job.progress.done >= steps:
            return
    raise AssertionError(f"the job ended before {steps} steps")


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
            stack.processes.stop("worker")  # while it runs, it may be the one that looks at the job, once a minute
            ended = client.wait(novel, timeout=SECONDS)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)


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
