"""Which workers run, which releases they have in memory, and whether they are busy.

The entries are hints. A job for a release that an idle worker has in memory is sent to that worker's own queue, so that
the release need not be loaded. If the hint was wrong, the recovery process sends the job to all workers after some
seconds.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from archetype.contract.strict_json import dump_json, load_json
from shared.state.keys import key
from shared.state.redis_client import RedisClient

PRESENT_SECONDS = 30
"""A worker that does not renew its entry for this time is no longer listed."""

RESERVED_MS = 3000
"""How long a worker that was just sent a job is not found again; the message may still be on its way."""

WORKERS = key("workers")
"""Key of the names of all workers."""


def name_queue(worker: str) -> str:
    """Name of a worker's own queue."""
    return f"worker.{worker}"


class WorkerEntry(NamedTuple):
    """What a worker reports about itself.

    Attributes:
        releases: Identities of the releases in its memory.
        busy: Whether it works on a shard.
        memory: Bytes of GPU memory that it has allocated.
    """

    releases: list[str]
    busy: bool
    memory: int = 0


class WorkerRegistry:
    """The entries of all workers in Redis. Every call raises `Unavailable` if Redis does not answer."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client

    def report(self, worker: str, releases: Sequence[str], *, busy: bool, memory: int = 0) -> None:
        """Stores a worker's entry.

        Args:
            worker: Name of the worker.
            releases: Identities of the releases in its memory.
            busy: Whether it works on a shard. An idle worker is no longer reserved.
            memory: Bytes of GPU memory that it has allocated.
        """
        entry = dump_json({"releases": list(releases), "busy": busy, "memory": memory})
        with self._redis_client.connection() as redis:
            redis.set(_entry_key(worker), entry, ex=PRESENT_SECONDS)
            redis.sadd(WORKERS, worker)
            if not busy:
                redis.delete(_reservation_key(worker))

    def renew(self, worker: str) -> None:
        """Keeps a worker's entry. If Redis has lost it, the worker is listed as idle and without releases."""
        with self._redis_client.connection() as redis:
            exists = redis.expire(_entry_key(worker), PRESENT_SECONDS)
        if not exists:
            self.report(worker, [], busy=False)

    def entries(self) -> dict[str, WorkerEntry]:
        """The entries of all workers that run, by name."""
        return {worker: entry for worker, entry in self._read_entries().items() if entry is not None}

    def find_idle(self, release: str) -> str | None:
        """Reserves an idle worker that has a release in memory; None if there is none.

        The worker is not found again until it reports that it is idle, or the reservation expires.
        """
        for worker, entry in self._read_entries().items():
            if entry is None:
                self._remove(worker)
            elif release in entry.releases and not entry.busy and self._reserve(worker):
                return worker
        return None

    def _read_entries(self) -> dict[str, WorkerEntry | None]:
        """The entries by worker, in alphabetical order; None for a worker whose entry has expired."""
        with self._redis_client.connection() as redis:
            workers = sorted(cast("set[str]", redis.smembers(WORKERS)))
            entries = cast("list[str | None]", redis.mget(map(_entry_key, workers))) if workers else []
        return {
            worker: WorkerEntry(**load_json(entry)) if entry is not None else None
            for worker, entry in zip(workers, entries, strict=True)
        }

    def _reserve(self, worker: str) -> bool:
        with self._redis_client.connection() as redis:
            return bool(redis.set(_reservation_key(worker), 1, nx=True, px=RESERVED_MS))

    def _remove(self, worker: str) -> None:
        """Removes a worker that no longer runs. The recovery process sends the jobs in its queue to all workers."""
        with self._redis_client.connection() as redis:
            redis.srem(WORKERS, worker)
            redis.delete(name_queue(worker))


def _entry_key(worker: str) -> str:
    return key(f"worker:{worker}")


def _reservation_key(worker: str) -> str:
    return _entry_key(worker) + ":reserved"
