"""Measures how long nine tenants wait while a tenth has a long queue, and how long a claim takes.

python -m benchmarks.queue.fairness --shards 100000

Redis and the claims are real. The workers are simulated: a batch takes twenty to forty seconds on a simulated clock, so
that waiting times do not depend on the machine. The tenth tenant replaces each shard that is claimed. The others either
always have waiting shards, so that the workers are never idle, or send shards at random times for half of the workers.
"""

import argparse
import heapq
import random
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from archetype.contract.job import now
from deploy.local import make_environment
from deploy.processes import ProcessGroup
from deploy.servers import free_port, redis_command
from shared.queue.claims import Claim, Claims
from shared.queue.sharding import SHARD_SLOTS
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.state.redis_client import RedisClient
from shared.storage.documents import JobSpec

BACKLOG = "backlog"
"""The tenant with the long queue."""

OTHERS = 9
LANES = 4
PLACES = 4 * SHARD_SLOTS
"""Places of a worker's batch."""

JOB_SHARDS = 500
"""Shards of each job of the tenant with the long queue."""

SECONDS = (20.0, 40.0)
"""Shortest and longest time of a batch."""


@dataclass
class Simulation:
    """Workers and tenants on a simulated clock.

    Attributes:
        claims: The claims, in a real Redis without jobs.
        workers: Number of workers.
        waiting: Shards of each of the others that always wait; None if they send shards at random times instead.
        measured: Number of waiting times of the others to measure.
    """

    claims: Claims
    workers: int = 50
    waiting: int | None = 20
    measured: int = 2000
    _clock: float = 0.0
    _sent: dict[str, tuple[str, float]] = field(default_factory=dict)
    _waits: list[float] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(7))

    def run(self, backlog: int) -> list[float]:
        """Simulates the service.

        Args:
            backlog: Number of shards of the tenth tenant that always wait.

        Returns:
            The waiting times of the others, in seconds.
        """
        for _ in range(0, backlog, JOB_SHARDS):
            self._send(BACKLOG, min(JOB_SHARDS, backlog))
        for tenant in range(OTHERS):
            for _ in range(self.waiting or 0):
                self._send(f"tenant-{tenant}", 1)
        free = [(self._random.uniform(0, SECONDS[1]), worker) for worker in range(self.workers)]
        heapq.heapify(free)
        arrival = 0.0
        while len(self._waits) < 1.5 * self.measured:  # the queues form in the first third
            self._clock, worker = heapq.heappop(free)
            while self.waiting is None and arrival < self._clock:
                arrival += self._random.expovariate(self._rate)
                self._send(f"tenant-{self._random.randrange(OTHERS)}", 1, at=arrival)
            is_busy = self._fill_batch(f"worker {worker}")
            heapq.heappush(free, (self._clock + (self._random.uniform(*SECONDS) if is_busy else 0.1), worker))
        return self._waits[-self.measured :]

    @property
    def _rate(self) -> float:
        """Shards per second that occupy half of the workers with full batches."""
        return 0.5 * self.workers * (PLACES // SHARD_SLOTS) / statistics.mean(SECONDS)

    def _fill_batch(self, worker: str) -> bool:
        """Claims as a worker does; returns whether there was a shard to claim."""
        claim, room = self.claims.claim(worker), PLACES
        is_busy = claim is not None
        while claim is not None:
            self._note(claim)
            room -= claim.size
            claim = self.claims.claim(worker, lane=claim.lane, room=room) if room > 0 else None
        return is_busy

    def _note(self, claim: Claim) -> None:
        """Notes the waiting time of a shard; a tenant that always has waiting shards sends another one."""
        tenant, sent_at = self._sent[claim.job_id]
        if tenant != BACKLOG:
            self._waits.append(self._clock - sent_at)
        if tenant == BACKLOG or self.waiting is not None:
            self._send(tenant, 1)

    def _send(self, tenant: str, shards: int, *, at: float | None = None) -> None:
        job_id = new_job_id()
        self.claims.create(job_id, make_spec(tenant, shards, f"model@{self._random.randrange(LANES)}/class_model"))
        self._sent[job_id] = tenant, self._clock if at is None else at


def make_spec(tenant: str, shards: int, lane: str) -> JobSpec:
    """Returns an interactive job of full shards."""
    request = {"method": "class_model", "model": "shapes@1", "priority": "interactive", "tags": []}
    moment = now()
    return JobSpec(
        tenant=tenant,
        request=request,
        lane=lane,
        shards=[SHARD_SLOTS] * shards,
        weight=1,
        created_at=moment,
        deadline=moment + timedelta(hours=1),
    )


@contextmanager
def run_redis() -> Iterator[RedisClient]:
    """Runs a Redis server without data for the length of a `with` block."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
        processes = ProcessGroup(Path(folder), make_environment(settings))
        (Path(folder) / "log").mkdir()
        with processes.run("redis", redis_command(Path(folder) / "redis", settings)):
            redis_client = RedisClient(settings)
            processes.wait_for("redis", redis_client.ping)
            yield redis_client


def time_claims(redis_client: RedisClient, shards: int, times: int = 400) -> float:
    """Returns the mean time of a claim within Redis, in microseconds, while so many shards of ten tenants wait."""
    claims, sizes = Claims(redis_client), [min(JOB_SHARDS, shards // 10)] * max(10, shards // JOB_SHARDS)
    for number, size in enumerate(sizes):
        claims.create(new_job_id(), make_spec(f"tenant-{number % 10}", size, f"model@{number % LANES}/class_model"))
    spent = 0.0
    for _ in range(times // 8):
        with redis_client.connection() as redis:
            redis.config_resetstat()
            claimed = [claim for _ in range(8) if (claim := claims.claim("worker")) is not None]
            spent += redis.info("commandstats")["cmdstat_evalsha"]["usec"]
        for claim in claimed:
            claims.give_back(claim, counts=False, max_attempts=5)
    return spent / (times // 8 * 8)


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=100_000, help="queue of the tenth tenant")
    options = parser.parse_args()
    print("| waiting time of nine tenants in seconds: median, 95th percentile | alone | with the tenth | ratio |")
    print("|---|--:|--:|--:|")
    for name, waiting in (("they always have waiting shards", 20), ("they use half of the workers", None)):
        waits = []
        for backlog in (0, options.shards):
            with run_redis() as redis_client:
                waits.append(sorted(Simulation(Claims(redis_client), waiting=waiting).run(backlog)))
        for part, rank in (("median", 0.5), ("95th percentile", 0.95)):
            alone, together = (wait[int(len(wait) * rank)] for wait in waits)
            ratio = f"{together / alone:.2f}" if alone else "–"
            print(f"| {name}, {part} | {alone:.1f} | {together:.1f} | {ratio} |")
    print("\n| waiting shards | microseconds of a claim within Redis |\n|--:|--:|")
    for shards in (10, 1000, 100_000):
        with run_redis() as redis_client:
            print(f"| {shards} | {time_claims(redis_client, shards):.0f} |")


if __name__ == "__main__":
    main()
