"""Benchmark of the service: co-batching of jobs, long queues, latency of submissions and first steps.

python -m benchmarks.service                 all parts, some minutes
python -m benchmarks.service --only batches  one part: batches, queue, submit or step
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table

from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.request import ClassModel
from deploy.local import Stack, run_stack
from shared.lifecycle.rebuild import load_spec
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket

MODELS = Path(__file__).with_name("models.toml")
TARGETS = 32


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    Attributes:
        target: The target as text; empty if the figure is only for comparison.
        is_met: Whether the value meets the target.
    """

    name: str
    value: float
    unit: str
    target: str = ""
    is_met: bool = True


def main() -> int:
    """Runs the selected parts and prints the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="part to run; default: all")
    parser.add_argument("--model", default="shapes", help="model for the comparison of batches")
    parser.add_argument("--steps", type=int, default=256, help="steps for the comparison of batches")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the comparison; the result is the median")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures = [figure for part in options.only or PARTS for figure in PARTS[part](options)]
    table = Table("measurement", "value", "target", "")
    for figure in figures:
        verdict = "" if not figure.target else "met" if figure.is_met else "missed"
        table.add_row(figure.name, f"{figure.value:.3g} {figure.unit}", figure.target, verdict)
    Console(width=120).print(table)
    if options.json:
        options.json.write_text(json.dumps([vars(figure) for figure in figures], indent=1))
    return 0


def find_models() -> Path | None:
    """Returns the catalogue of the real networks, or None if ../shared does not exist."""
    return MODELS if (MODELS.parents[2] / "shared" / "models").is_dir() else None


@contextmanager
def running(workers: int, **settings: Any) -> Iterator[tuple[Stack, Client]]:
    """Runs a stack in a temporary folder."""
    plans = Path(tempfile.gettempdir()) / "archetype-bench-plans.json"
    stack_settings = Settings(catalogue=find_models(), plan_cache=plans, max_queued_jobs=100_000, **settings)
    with (
        tempfile.TemporaryDirectory() as folder,
        run_stack(Path(folder), stack_settings, workers=workers) as stack,
        Client(stack.url, timeout=120) as client,
    ):
        yield stack, client


def make_request(model: str, targets: list[int], steps: int, **params: Any) -> ClassModel:
    """Returns a request for class visualizations."""
    parameters = ClassModelParameters(steps=steps, **params)
    return ClassModel(method="class_model", model=model, targets=list(targets), params=parameters)


def time_batches(options: argparse.Namespace) -> Iterator[Figure]:
    """Compares many jobs of one image each with one job of all images, with lanes and without.

    If the model has too few classes, the jobs use eight classes with several seeds.
    """
    seconds: dict[str, list[float]] = {"one job": [], "lanes": [], "no lanes": []}
    for _ in range(options.rounds):
        for lane_seconds in (30.0, 0.0):
            with running(1, lane_seconds=lane_seconds) as (_, client):
                classes = len(client.model(options.model)["class_names"])
                count = TARGETS if classes >= TARGETS else min(8, classes)
                targets, seeds = [number * classes // count for number in range(count)], list(range(TARGETS // count))
                finish(
                    client, [client.submit(make_request(options.model, targets[:8], 2)).id]
                )  # loads the model and measures its plan
                if lane_seconds:
                    whole = make_request(options.model, targets, options.steps, seeds=seeds)
                    seconds["one job"].append(time_jobs(client, [whole]))
                singles = [
                    make_request(options.model, [target], options.steps, seeds=[seed])
                    for target in targets
                    for seed in seeds
                ]
                seconds["lanes" if lane_seconds else "no lanes"].append(time_jobs(client, singles))
    single = statistics.median(seconds["one job"])
    yield Figure(f"one job of {TARGETS} images, {options.model}, {options.steps} steps", single, "s")
    ratio = statistics.median(seconds["lanes"]) / single
    yield Figure(f"{TARGETS} jobs of one image, relative to one job", ratio, "times", "at most 1.3", ratio <= 1.3)
    yield Figure("the same without lanes", statistics.median(seconds["no lanes"]) / single, "times")


def time_jobs(client: Client, requests: list[ClassModel]) -> float:
    """Returns the seconds from the first submission until all jobs have ended. One thread submits each job."""
    started = time.perf_counter()
    with ThreadPoolExecutor(len(requests)) as pool:
        jobs = list(pool.map(lambda request: client.submit(request).id, requests))
    finish(client, jobs)
    return time.perf_counter() - started


def finish(client: Client, jobs: list[str]) -> list[Job]:
    """Waits until all jobs have ended. Raises `RuntimeError` if one did not succeed."""
    ended = [client.wait(job_id, timeout=600) for job_id in jobs]
    if any(job.state is not State.SUCCEEDED for job in ended):
        raise RuntimeError(f"a job did not succeed: {[job.error for job in ended if job.error]}")
    return ended


def time_queue(_options: argparse.Namespace) -> Iterator[Figure]:
    """Measures claim, list and submit with 100 and with 10,000 jobs in the queue."""
    with running(0) as (stack, client):
        first = client.submit(make_request("shapes", [0], 2)).id
        spec = load_spec(JobStore(Bucket(stack.settings)), first)
        claims = Claims(RedisClient(stack.settings))
        calls: dict[str, Callable[[], object]] = {
            "list": lambda: client._transport.request("GET", "/v1/jobs", params={"limit": 50}),
            "list, filtered": lambda: client._transport.request(
                "GET", "/v1/jobs", params={"limit": 50, "state": "queued"}
            ),
            "submit": lambda: client.submit(make_request("shapes", [0], 2)),
            "claim": lambda: claims.claim("bench"),  # last, because it removes jobs from the queue
        }
        costs = []
        for count in (100, 10_000):
            queued = JobIndex(RedisClient(stack.settings)).count(State.QUEUED)
            for number in range(count - queued):
                lane = f"{spec.lane}{number % 20}"
                claims.create(f"0bench{count:08d}{number:012d}", spec.model_copy(update={"lane": lane}))
            costs.append({name: time_call(call) for name, call in calls.items()})
    for name in calls:
        ratio = costs[1][name] / costs[0][name]
        yield Figure(f"{name} with 100 queued", costs[0][name] * 1000, "ms")
        yield Figure(f"{name} with 10,000 queued, relative to 100", ratio, "times", "at most 1.5", ratio <= 1.5)


def time_call(call: Callable[[], object], times: int = 90) -> float:
    """Returns the median of the seconds of a call."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[5:])


def time_submit(options: argparse.Namespace) -> Iterator[Figure]:
    """Measures submissions per second with the API on one core, and their latency while a worker computes."""
    body = make_request("shapes", [0], 2).model_dump(mode="json", exclude_unset=True)
    with running(0) as (stack, _):
        pin(stack, "api", {0})
        rate = count_submissions(stack.url, body, seconds=10)
    yield Figure("submissions per second, API on one core", rate, "1/s", "at least 100", rate >= 100)
    with running(1) as (stack, client):
        client.submit(make_request(options.model, list(range(8)), 5000))
        time.sleep(15)
        seconds = sorted(time_each(stack.url, body, 200))
        for job in client.jobs(state=State.RUNNING):
            client.cancel(job.id)
    yield Figure("submission while a worker computes, median", statistics.median(seconds) * 1000, "ms")
    yield Figure("the same, 99th percentile", seconds[int(len(seconds) * 0.99)] * 1000, "ms")


def pin(stack: Stack, name: str, cores: set[int]) -> None:
    """Restricts a process of the stack and its descendants to a set of cores."""
    leader = stack.processes.children[name].pid
    for task in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        pid = int(task.parts[2])
        if os.getpgid(pid) == leader:
            os.sched_setaffinity(int(task.name), cores)


def count_submissions(url: str, body: dict[str, Any], *, seconds: float, clients: int = 8) -> float:
    """Submits jobs from several threads; returns the accepted jobs per second."""
    limit = time.monotonic() + seconds

    def submit(_: int) -> int:
        with httpx2.Client(base_url=url, timeout=30) as http:
            count = 0
            while time.monotonic() < limit:
                count += http.post("/v1/jobs", json=body).status_code == 202
            return count

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(submit, range(clients))) / seconds


def time_each(url: str, body: dict[str, Any], count: int) -> Iterator[float]:
    """Submits jobs one after another; yields the seconds of each submission."""
    with httpx2.Client(base_url=url, timeout=30) as http:
        for _ in range(count):
            started = time.perf_counter()
            http.post("/v1/jobs", json=body).raise_for_status()
            yield time.perf_counter() - started
            time.sleep(0.05)


def time_step(options: argparse.Namespace) -> Iterator[Figure]:
    """Measures the time from the 202 response to the first step of a worker that has loaded the model."""
    for model in dict.fromkeys(("shapes", "squeezenet" if find_models() else options.model)):
        with running(1) as (_, client):
            finish(client, [client.submit(make_request(model, [0], 2)).id])
            seconds = []
            for _ in range(20):
                time.sleep(0.3)
                job = client.submit(make_request(model, [0], 2))
                accepted = time.time()
                (ended,) = finish(client, [job.id])
                stepped = ended.created_at.timestamp() + ended.provenance["seconds"]["first_step"]
                seconds.append(stepped - accepted)
        value = statistics.median(seconds) * 1000
        yield Figure(f"from the 202 response to the first step, {model}", value, "ms", "under 150", value < 150)


PARTS = {"batches": time_batches, "queue": time_queue, "submit": time_submit, "step": time_step}

if __name__ == "__main__":
    raise SystemExit(main())
