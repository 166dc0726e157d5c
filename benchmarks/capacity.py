"""Estimates the load of many GPUs on Redis and the store from measured costs of single operations.

python -m benchmarks.capacity --gpus 1000 --class-models 2000    (class visualizations per GPU and hour)

Redis uses one core. The cost of each call is measured with the counter of CPU seconds of Redis. The objects of a job in
the store are counted after a job of a real worker.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from archetype.client import Client
from archetype.contract.job import Progress, State, now
from archetype.contract.request import ClassModel
from deploy.local import Stack, make_environment, run_stack
from deploy.processes import ProcessGroup
from deploy.servers import free_port, redis_command
from shared.queue.claims import Claim, Claims
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.state.redis_client import RedisClient
from shared.storage.documents import JobSpec, Manifest
from shared.storage.s3 import Bucket
from worker.execution.recovery import MAX_SWEEPERS

JOBS, SLOTS = 4000, 8
"""Number of claimed shards, and class visualizations per shard: a batch of 32 on each of 1000 GPUs."""

RENEWALS_PER_SECOND = 2.0
"""For each claimed shard."""


class Meter:
    """Measures the CPU time and the memory of Redis."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client

    def read_cpu_seconds(self) -> float:
        """Returns the CPU seconds that Redis has used."""
        with self._redis_client.connection() as redis:
            info = redis.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def read_memory(self) -> int:
        """Returns the memory of Redis in bytes."""
        with self._redis_client.connection() as redis:
            return int(redis.info("memory")["used_memory"])

    def measure(self, operation: Callable[[], object], count: int) -> float:
        """Runs an operation that makes `count` calls; returns the microseconds of each call."""
        before = self.read_cpu_seconds()
        operation()
        return (self.read_cpu_seconds() - before) / count * 1e6


def make_spec() -> JobSpec:
    """Returns a bulk job with one shard."""
    request = {"method": "class_model", "model": "shapes@1", "priority": "bulk", "tags": []}
    moment = now()
    deadline = moment + timedelta(hours=1)
    return JobSpec(
        request=request, lane="shapes@1/class_model", shards=[SLOTS], weight=1, created_at=moment, deadline=deadline
    )


def measure_redis() -> tuple[dict[str, float], float]:
    """Measures the operations on a shard while Redis contains all shards of 1000 GPUs.

    Returns:
        The microseconds of CPU time of each operation, and the bytes that Redis keeps for an ended job.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
        processes = ProcessGroup(Path(folder), make_environment(settings))
        (Path(folder) / "log").mkdir()
        stack.enter_context(processes.run("redis", redis_command(Path(folder) / "redis", settings)))
        redis_client = RedisClient(settings)
        processes.wait_for("redis", redis_client.ping)
        claims, meter = Claims(redis_client), Meter(redis_client)
        ids = [new_job_id() for _ in range(JOBS)]
        claimed: list[Claim] = []

        def claim_all() -> None:
            claimed.extend(claim for _ in ids if (claim := claims.claim("worker")) is not None)

        def finish_all() -> None:
            for claim in claimed:
                job = make_spec().job(claim.job_id).model_copy(update={"state": State.SUCCEEDED})
                claims.finish_job(claim, Manifest(job=job, fence=claim.fence))

        empty = meter.read_memory()
        costs = {
            "accept": meter.measure(lambda: [claims.create(job_id, make_spec()) for job_id in ids], JOBS),
            "claim": meter.measure(claim_all, JOBS),
            "renew": meter.measure(lambda: [claims.renew(claim, Progress()) for claim in claimed], JOBS),
            "list leases (recovery)": meter.measure(lambda: [claims.leases() for _ in range(20)], 20),
            "finish": meter.measure(finish_all, JOBS),
        }
        return costs, (meter.read_memory() - empty) / JOBS


def measure_store(stack: Stack) -> tuple[float, float]:
    """Returns the number and the size of the objects of a class visualization in the store, with default parameters."""
    with Client(stack.url, timeout=60) as client:
        request = ClassModel(method="class_model", model="shapes", targets=list(range(SLOTS)))
        job = client.wait(client.submit(request).id, timeout=300)
    objects = list(Bucket(stack.settings).list(f"jobs/{job.id}/"))
    return len(objects) / SLOTS, sum(entry.bytes for entry in objects) / SLOTS


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=1000, help="number of GPUs")
    parser.add_argument("--class-models", type=float, default=2000, help="class visualizations per GPU and hour")
    options = parser.parse_args()
    costs, size_in_redis = measure_redis()
    print("| operation in Redis | microseconds |\n|---|--:|")
    for name, cost in costs.items():
        print(f"| {name} | {cost:.0f} |")
    print(f"\nRedis keeps {size_in_redis:.0f} bytes for an ended job, until its result expires.")
    with tempfile.TemporaryDirectory() as folder, run_stack(Path(folder), Settings()) as stack:
        objects, size = measure_store(stack)
    print(f"\nA class visualization has {objects:.1f} objects of {size / 1e6:.2f} MB in total (80 px).\n")
    print_estimate(options.gpus, options.gpus * options.class_models / 3600, costs, objects, size)


def print_estimate(gpus: int, rate: float, costs: dict[str, float], objects: float, size: float) -> None:
    """Prints the load of Redis and the store at a rate of class visualizations per second."""
    shards, claimed = rate / SLOTS, JOBS / 1000 * gpus
    lifecycle = shards * (costs["accept"] + costs["claim"] + costs["finish"]) / 1e6
    renewals = claimed * RENEWALS_PER_SECOND
    seconds = Settings().sweep_seconds
    recovery = MAX_SWEEPERS / seconds * costs["list leases (recovery)"] * claimed / JOBS / 1e6
    print(f"| {gpus} GPUs, {rate:.0f} class visualizations per second | |\n|---|--:|")
    print(f"| core of Redis: shards accepted, claimed and finished ({shards:.0f} per second) | {lifecycle:.1%} |")
    print(f"| core of Redis: leases renewed ({renewals:.0f} per second) | {renewals * costs['renew'] / 1e6:.1%} |")
    print(f"| core of Redis: recovery by {MAX_SWEEPERS} workers, each every {seconds:.0f} s | {recovery:.1%} |")
    print(f"| store: objects written per second | {rate * objects:.0f} |")
    print(f"| store: MB written per second | {rate * size / 1e6:.0f} |")


if __name__ == "__main__":
    main()
