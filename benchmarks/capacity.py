"""What a thousand GPUs would ask of Redis and the store, from what each thing costs here.

python -m benchmarks.capacity --gpus 1000 --class-models 2000    (of each GPU, in an hour)

Redis works on one core: what it spends on each call is taken from its own count of CPU seconds. What a job leaves in
the store is counted in one that a real worker has made.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from deploy.family import Family
from deploy.local import Stack, free_port, make_environment, redis_command, run_stack
from shared.bucket import Bucket
from shared.claims import Claim, Claims
from shared.client import Client
from shared.jobs import Manifest, Order, Progress, State, new_job_id, now
from shared.methods import ClassModel
from shared.records import Records
from shared.settings import Settings
from worker.sweep import SWEEPERS

JOBS, SLOTS = 4000, 8
"""Shares that are held at once, and the class models in each: a batch of thirty-two on each of a thousand GPUs."""

BEATS = 2.0
"""A second, of every share that is held."""


class Meter:
    """What Redis' core has spent, and what it holds."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def spent(self) -> float:
        with self._records.connection() as redis:
            told = redis.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

    def held(self) -> int:
        """Bytes."""
        with self._records.connection() as redis:
            return int(redis.info("memory")["used_memory"])

    def of(self, act: Callable[[], object], count: int) -> float:
        """Microseconds of each of so many calls."""
        before = self.spent()
        act()
        return (self.spent() - before) / count * 1e6


def make_order() -> Order:
    """One share of a bulk job."""
    request = {"method": "class_model", "model": "shapes@1", "priority": "bulk", "tags": []}
    moment = now()
    return Order(
        request=request, lane="shapes@1/class_model", shares=[SLOTS], weight=1, created_at=moment,
        deadline=moment + timedelta(hours=1),
    )  # fmt: skip


def measure_redis() -> tuple[dict[str, float], float]:
    """Microseconds of Redis' core for each step in a share's life, with all shares of a thousand GPUs in it.

    And the bytes that it keeps of a job that has ended.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
        family = Family(Path(folder), make_environment(settings))
        (Path(folder) / "log").mkdir()
        held.enter_context(family.run("redis", redis_command(Path(folder) / "redis", settings)))
        records = Records(settings)
        family.wait_for("redis", records.ping)
        claims, meter = Claims(records), Meter(records)
        ids = [new_job_id() for _ in range(JOBS)]
        taken: list[Claim] = []

        def claim_all() -> None:
            taken.extend(claim for _ in ids if (claim := claims.claim("somebody")) is not None)

        def finish_all() -> None:
            for claim in taken:
                job = make_order().job(claim.job_id).model_copy(update={"state": State.SUCCEEDED})
                claims.finish(claim, Manifest(job=job, fence=claim.fence))

        empty = meter.held()
        costs = {
            "accepted": meter.of(lambda: [claims.create(one, make_order()) for one in ids], JOBS),
            "claimed": meter.of(claim_all, JOBS),
            "renewed": meter.of(lambda: [claims.renew(one, Progress()) for one in taken], JOBS),
            "a look of one sweep": meter.of(lambda: [claims.leases() for _ in range(20)], 20),
            "ended": meter.of(finish_all, JOBS),
        }
        return costs, (meter.held() - empty) / JOBS


def measure_store(stack: Stack) -> tuple[float, float]:
    """Objects and bytes that a class model leaves in the store, with all that is drawn of it by default."""
    with Client(stack.url, timeout=60) as client:
        request = ClassModel(method="class_model", model="shapes", targets=list(range(SLOTS)))
        job = client.wait(client.submit(request).id, timeout=300)
    left = list(Bucket(stack.settings).list(f"jobs/{job.id}/"))
    return len(left) / SLOTS, sum(one.bytes for one in left) / SLOTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--class-models", type=float, default=2000, help="that a GPU draws in an hour")
    options = parser.parse_args()
    costs, kept = measure_redis()
    print("| microseconds of Redis' core | |\n|---|--:|")
    for name, cost in costs.items():
        print(f"| {name} | {cost:.0f} |")
    print(f"\nOf a job that has ended it keeps {kept:.0f} bytes, for as long as its result is kept.")
    with tempfile.TemporaryDirectory() as folder, run_stack(Path(folder), Settings()) as stack:
        objects, size = measure_store(stack)
    print(f"\nA class model leaves {objects:.1f} objects and {size / 1e6:.2f} MB (80 px).\n")
    tell(options.gpus, options.gpus * options.class_models / 3600, costs, objects, size)


def tell(gpus: int, drawn: float, costs: dict[str, float], objects: float, size: float) -> None:
    """Which part has how much to do, at so many class models a second."""
    shares, each = drawn / SLOTS, JOBS / 1000 * gpus
    life = shares * (costs["accepted"] + costs["claimed"] + costs["ended"]) / 1e6
    beats = each * BEATS * costs["renewed"] / 1e6
    seconds = Settings().sweep_seconds
    sweeps = SWEEPERS / seconds * costs["a look of one sweep"] * each / JOBS / 1e6
    print(f"| {gpus} GPUs, {drawn:.0f} class models a second | |\n|---|--:|")
    print(f"| Redis' core: shares accepted, claimed, ended ({shares:.0f} a second) | {life:.1%} |")
    print(f"| Redis' core: leases renewed ({each * BEATS:.0f} a second) | {beats:.1%} |")
    print(f"| Redis' core: sweeps of {SWEEPERS} workers, each every {seconds:.0f} s | {sweeps:.1%} |")
    print(f"| the store: objects written a second | {drawn * objects:.0f} |")
    print(f"| the store: MB written a second | {drawn * size / 1e6:.0f} |")


if __name__ == "__main__":
    main()
