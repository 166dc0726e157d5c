"""How the service does what a notebook cannot: jobs that share batches, long queues, quick answers.

python -m benchmarks.service                 all of it, some minutes
python -m benchmarks.service --only batches  batches, queue, submit, or step
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

from deploy.local import Stack, run_stack
from shared.bucket import Bucket
from shared.claims import Claims
from shared.client import Client
from shared.jobs import Job, State
from shared.methods import ClassModel
from shared.parameters.class_model import ClassModelParameters
from shared.rebuilding import load_order
from shared.records import Records
from shared.settings import Settings
from shared.storage import Storage

MODELS = Path(__file__).with_name("models.toml")
TARGETS = 32


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        wanted: What it is to be, as a sentence; empty where it is for comparison.
        met: Whether it is.
    """

    what: str
    value: float
    unit: str
    wanted: str = ""
    met: bool = True


def main() -> int:
    """Measures what is asked for and prints it; with `--json`, also as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--model", default="shapes", help="whose batches are compared")
    parser.add_argument("--steps", type=int, default=256, help="of the ascents whose batches are compared")
    parser.add_argument("--rounds", type=int, default=3, help="of that comparison; the medians count")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = [figure for part in options.only or PARTS for figure in PARTS[part](options)]
    table = Table("what", "figure", "target", "")
    for one in figures:
        verdict = "" if not one.wanted else "met" if one.met else "missed"
        table.add_row(one.what, f"{one.value:.3g} {one.unit}", one.wanted, verdict)
    Console(width=120).print(table)
    if options.json:
        options.json.write_text(json.dumps([vars(one) for one in figures], indent=1))
    return 0


def find_models() -> Path | None:
    """The catalogue of real networks, where they lie beside the checkout."""
    return MODELS if (MODELS.parents[2] / "shared" / "models").is_dir() else None


@contextmanager
def running(workers: int, **settings: Any) -> Iterator[tuple[Stack, Client]]:
    """A stack of its own in a folder that goes."""
    plans = Path(tempfile.gettempdir()) / "archetype-bench-plans.json"
    chosen = Settings(catalogue=find_models(), plans=plans, max_queued_jobs=100_000, **settings)
    with (
        tempfile.TemporaryDirectory() as folder,
        run_stack(Path(folder), chosen, workers=workers) as stack,
        Client(stack.url, timeout=120) as client,
    ):
        yield stack, client


def draw(model: str, targets: list[int], steps: int, **params: Any) -> ClassModel:
    chosen = ClassModelParameters(steps=steps, **params)
    return ClassModel(method="class_model", model=model, targets=list(targets), params=chosen)


def time_batches(options: argparse.Namespace) -> Iterator[Figure]:
    """Many jobs of one picture each against one job of all of them, with lanes and without.

    A network with fewer classes than that draws each of eight from several seeds.
    """
    taken: dict[str, list[float]] = {"one job": [], "lanes": [], "no lanes": []}
    for _ in range(options.rounds):
        for lane_seconds in (30.0, 0.0):
            with running(1, lane_seconds=lane_seconds) as (_, client):
                classes = len(client.model(options.model)["class_names"])
                count = TARGETS if classes >= TARGETS else min(8, classes)
                targets, seeds = [number * classes // count for number in range(count)], list(range(TARGETS // count))
                finish(client, [client.submit(draw(options.model, targets[:8], 2)).id])  # loaded, and planned
                if lane_seconds:
                    whole = draw(options.model, targets, options.steps, seeds=seeds)
                    taken["one job"].append(time_jobs(client, [whole]))
                singles = [
                    draw(options.model, [target], options.steps, seeds=[seed]) for target in targets for seed in seeds
                ]
                taken["lanes" if lane_seconds else "no lanes"].append(time_jobs(client, singles))
    one = statistics.median(taken["one job"])
    yield Figure(f"one job of {TARGETS} pictures, {options.model}, {options.steps} steps", one, "s")
    ratio = statistics.median(taken["lanes"]) / one
    yield Figure(f"{TARGETS} jobs of one picture, over that", ratio, "times", "at most 1.3", ratio <= 1.3)
    yield Figure("the same without lanes", statistics.median(taken["no lanes"]) / one, "times")


def time_jobs(client: Client, requests: list[ClassModel]) -> float:
    """Seconds from the first submission until all have ended; each has a client of its own."""
    started = time.perf_counter()
    with ThreadPoolExecutor(len(requests)) as pool:
        jobs = list(pool.map(lambda request: client.submit(request).id, requests))
    finish(client, jobs)
    return time.perf_counter() - started


def finish(client: Client, jobs: list[str]) -> list[Job]:
    ended = [client.wait(job_id, timeout=600) for job_id in jobs]
    if any(job.state is not State.SUCCEEDED for job in ended):
        raise RuntimeError(f"a job did not succeed: {[job.error for job in ended if job.error]}")
    return ended


def time_queue(_options: argparse.Namespace) -> Iterator[Figure]:
    """What claim, list and submit cost with a hundred jobs in the queue and with ten thousand."""
    with running(0) as (stack, client):
        first = client.submit(draw("shapes", [0], 2)).id
        order = load_order(Storage(Bucket(stack.settings)), first)
        claims = Claims(Records(stack.settings))
        calls: dict[str, Callable[[], object]] = {
            "list": lambda: client._call("GET", "/v1/jobs", params={"limit": 50}),
            "list, filtered": lambda: client._call("GET", "/v1/jobs", params={"limit": 50, "state": "queued"}),
            "submit": lambda: client.submit(draw("shapes", [0], 2)),
            "claim": lambda: claims.claim("bench"),  # last: it takes away what the others are to see
        }
        costs = []
        for count in (100, 10_000):
            waiting = Records(stack.settings).count(State.QUEUED)
            for number in range(count - waiting):
                lane = f"{order.lane}{number % 20}"
                claims.create(f"0bench{count:08d}{number:012d}", order.model_copy(update={"lane": lane}))
            costs.append({name: time_call(call) for name, call in calls.items()})
    for name in calls:
        ratio = costs[1][name] / costs[0][name]
        yield Figure(f"{name} with 100 queued", costs[0][name] * 1000, "ms")
        yield Figure(f"{name} with 10,000 queued, over that", ratio, "times", "at most 1.5", ratio <= 1.5)


def time_call(call: Callable[[], object], times: int = 90) -> float:
    """Median seconds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[5:])


def time_submit(options: argparse.Namespace) -> Iterator[Figure]:
    """Submissions a second where the API has one core, and how long they take while a worker computes."""
    body = draw("shapes", [0], 2).model_dump(mode="json", exclude_unset=True)
    with running(0) as (stack, _):
        pin(stack, "api", {0})
        rate = count_submissions(stack.url, body, seconds=10)
    yield Figure("submissions a second, the API on one core", rate, "1/s", "at least 100", rate >= 100)
    with running(1) as (stack, client):
        client.submit(draw(options.model, list(range(8)), 5000))
        time.sleep(15)
        taken = sorted(time_each(stack.url, body, 200))
        for job in client.jobs(state=State.RUNNING):
            client.cancel(job.id)
    yield Figure("a submission while a worker computes, median", statistics.median(taken) * 1000, "ms")
    yield Figure("the same, 99th percentile", taken[int(len(taken) * 0.99)] * 1000, "ms")


def pin(stack: Stack, name: str, cores: set[int]) -> None:
    """Lets a part of the stack, and all that it has started, run on these cores only."""
    leader = stack.family.children[name].pid
    for task in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        pid = int(task.parts[2])
        if os.getpgid(pid) == leader:
            os.sched_setaffinity(int(task.name), cores)


def count_submissions(url: str, body: dict[str, Any], *, seconds: float, clients: int = 8) -> float:
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
    with httpx2.Client(base_url=url, timeout=30) as http:
        for _ in range(count):
            started = time.perf_counter()
            http.post("/v1/jobs", json=body).raise_for_status()
            yield time.perf_counter() - started
            time.sleep(0.05)


def time_step(options: argparse.Namespace) -> Iterator[Figure]:
    """From the moment that a client has its 202 until the worker, which holds the network, has taken a step."""
    for model in dict.fromkeys(("shapes", "squeezenet" if find_models() else options.model)):
        with running(1) as (_, client):
            finish(client, [client.submit(draw(model, [0], 2)).id])
            taken = []
            for _ in range(20):
                time.sleep(0.3)
                job = client.submit(draw(model, [0], 2))
                accepted = time.time()
                (ended,) = finish(client, [job.id])
                stepped = ended.created_at.timestamp() + ended.provenance["seconds"]["first_step"]
                taken.append(stepped - accepted)
        value = statistics.median(taken) * 1000
        yield Figure(f"from 202 to the first step taken, {model}", value, "ms", "under 150", value < 150)


PARTS = {"batches": time_batches, "queue": time_queue, "submit": time_submit, "step": time_step}

if __name__ == "__main__":
    raise SystemExit(main())
