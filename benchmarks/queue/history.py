"""Measures lists over the history of ended jobs, and the memory of Redis before and after jobs are moved into it.

python -m benchmarks.queue.history --rows 1000000 --tenants 4 --days 30

Redis, the store and all code of the service are real; the jobs are made up. One job in twenty failed, each has a tag of
its own, and ten of each tenant have the tag `rare`.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ulid import ULID

from archetype.contract.job import Job, Progress, State, links_of, now
from deploy.local import make_environment
from deploy.local_secrets import LocalSecrets, protect
from deploy.processes import ProcessGroup
from deploy.servers import HOST, free_port, redis_command, run_store
from shared.history.history import History
from shared.history.job_list import JobList
from shared.history.row import Row, make_row
from shared.history.segments import Segments
from shared.lifecycle.move_ended import move_ended
from shared.settings import Settings
from shared.state.job_ids import day_of
from shared.state.job_index import JobIndex
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket

LIMIT = 50
"""Jobs of one page."""

RARE = 10
"""Jobs of a tenant with the tag `rare`."""

MOVED = 10_000
"""Jobs of which the memory in Redis is measured."""

Query = Callable[[random.Random], tuple[dict[str, str], str | None]]


@contextmanager
def run_servers(folder: Path) -> Iterator[Settings]:
    """Runs Redis and the store; yields the settings of an operator."""
    protect(folder)
    endpoint = f"http://{HOST}:{free_port()}"
    settings = Settings(redis_url=f"redis://{HOST}:{free_port()}/0", s3_endpoint=endpoint)
    secrets = LocalSecrets.create(folder, settings)
    owner = secrets.settings_of_owner(settings)
    processes = ProcessGroup(folder, make_environment(None))
    with ExitStack() as stack:
        stack.enter_context(processes.run("redis", redis_command(folder / "redis", settings, acl=secrets.acl)))
        stack.enter_context(run_store(processes, folder / "s3", secrets, settings, endpoint))
        processes.wait_for("redis", RedisClient(owner).ping)
        processes.wait_for("store", Bucket(owner).create, "store-guard")
        yield owner


@dataclass(frozen=True)
class Jobs:
    """Made-up ended jobs of one tenant.

    Attributes:
        tenant: The tenant.
        count: Number of jobs.
        days: Number of days over which they are spread.
        last: When the newest was created.
    """

    tenant: str
    count: int
    days: int
    last: datetime

    def make(self, number: int) -> Job:
        """Returns a job; 0 is the newest."""
        moment = self.last - timedelta(days=self.days) * (number / self.count)
        job_id, state = str(ULID.from_datetime(moment)).lower(), State.FAILED if number % 20 == 3 else State.SUCCEEDED
        tags = [f"build-{number}", *(["rare"] if number % (self.count // RARE) == self.count // RARE - 1 else [])]
        return Job(
            id=job_id,
            tenant=self.tenant,
            method=("class_model", "saliency", "saliency", "deep_dream")[number % 4],
            model=f"net{number % 9}@{1 + number % 5}",
            state=state,
            tags=tags,
            progress=Progress(done=512, total=512),
            attempt=1,
            created_at=moment,
            started_at=moment,
            finished_at=moment + timedelta(seconds=40),
            links=links_of(job_id),
        )

    def list_days(self) -> Iterator[tuple[str, list[Row]]]:
        """Yields the rows of each day, the newest first."""
        day, rows = "", list[Row]()
        for number in range(self.count):
            row = make_row(self.make(number), fence=1, size=112_000)
            if rows and day_of(row.id) != day:
                yield day, rows
                rows = []
            day = day_of(row.id)
            rows.append(row)
        yield day, rows


def make_list(settings: Settings) -> JobList:
    """Returns the lists as a process sees them that has just started."""
    redis_client = RedisClient(settings)
    return JobList(JobIndex(redis_client), History(Segments(Bucket(settings)), Locks(redis_client)))


def write_history(jobs: list[Jobs], job_list: JobList) -> float:
    """Writes the history of all tenants; returns the number of rows per second."""
    start, count = time.monotonic(), 0
    for each in jobs:
        for day, rows in each.list_days():
            job_list.history.add(each.tenant, day, rows)
            count += len(rows)
    return count / (time.monotonic() - start)


def list_queries(jobs: Jobs) -> dict[str, Query]:
    """Returns the measured lists: filters and position, chosen at random."""

    def deep(rng: random.Random) -> str:
        return jobs.make(rng.randrange(jobs.count)).id

    return {
        "first page": lambda _: ({}, None),
        "deep cursor": lambda rng: ({}, deep(rng)),
        "deep cursor, `state=failed`": lambda rng: ({"state": "failed"}, deep(rng)),
        "deep cursor, `model` and `method`": lambda rng: (
            {"model": f"net{rng.randrange(9)}", "method": "saliency"},
            deep(rng),
        ),
        "first page, `tag` of ten jobs": lambda _: ({"tag": "rare"}, None),
        "first page, `tag` of one job": lambda rng: ({"tag": f"build-{rng.randrange(jobs.count)}"}, None),
        "first page, unknown `tag`": lambda _: ({"tag": "unknown"}, None),
    }


def time_pages(job_list: JobList, tenant: str, query: Query, times: int) -> list[float]:
    """Returns the times of some pages in milliseconds, sorted."""
    rng, spent = random.Random(1), list[float]()
    for _ in range(times):
        filters, after = query(rng)
        start = time.perf_counter()
        job_list.page(tenant, filters=filters, limit=LIMIT, after=after)
        spent.append((time.perf_counter() - start) * 1000)
    return sorted(spent)


def measure_memory(settings: Settings, jobs: Jobs) -> tuple[float, float]:
    """Returns the bytes of Redis per ended job before and after they are moved into the history."""
    job_list, storage = make_list(settings), JobStore(Bucket(settings))
    with job_list.job_index.redis_client.connection() as redis:

        def read_bytes() -> int:
            return int(redis.info("memory")["used_memory_dataset"])

        empty = read_bytes()
        for number in range(MOVED):
            job = jobs.make(number)
            job_list.job_index.save_finished(Manifest(job=job, fence=1))
        full = read_bytes()
        move_ended(storage, job_list, settings.model_copy(update={"history_seconds": 0}))
        return (full - empty) / MOVED, (read_bytes() - empty) / MOVED


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tenants", type=int, default=4)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--times", type=int, default=200, help="pages of each kind")
    options = parser.parse_args()
    last = now() - timedelta(hours=1)
    jobs = [Jobs(f"t{n}", options.rows // options.tenants, options.days, last) for n in range(options.tenants)]
    with tempfile.TemporaryDirectory() as folder, run_servers(Path(folder)) as settings:
        rate = write_history(jobs, make_list(settings))
        print(
            f"{options.rows} rows of {options.tenants} tenants over {options.days} days: {rate:.0f} rows per second\n"
        )
        print(f"| page of {LIMIT} jobs, milliseconds | first | median | 99th percentile |\n|---|--:|--:|--:|")
        for name, query in list_queries(jobs[0]).items():
            started = make_list(settings)
            (first,) = time_pages(started, jobs[0].tenant, query, 1)
            times = time_pages(started, jobs[0].tenant, query, options.times)
            print(
                f"| {name} | {first:.0f} | {times[len(times) // 2]:.1f} | {times[int(len(times) * 0.99)]:.1f} |",
                flush=True,
            )
        before, after = measure_memory(settings, Jobs("memory", MOVED, 1, last))
        print(f"\n| bytes of Redis per ended job | {before:.0f} before, {after:.0f} after it was moved |")


if __name__ == "__main__":
    main()
