"""Which workers run, which releases they have in memory, and whether they are busy.

The entries are hints. A job for a release that an idle worker has in memory is sent to that worker's own queue, so that
the release need not be loaded. If the hint was wrong, the recovery process sends the job to all workers after some
seconds.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self, cast

from archetype.contract.strict_json import dump_json, load_json
from shared.state.keys import key
from shared.state.redis_client import RedisClient

PRESENT_SECONDS = 30
"""A worker that does not renew its entry for this time is no longer listed."""

RESERVED_MS = 3000
"""How long a worker that was just sent a job is not found again; the message may still be on its way."""

WORKERS = key("workers")
"""Key of the names of all workers."""

LOOKED_AT = 8
"""How many of the idle workers that have a release are looked at for a job; each may be reserved already."""

IDLE_SECONDS = 86_400
"""How long the idle workers of a release are kept after the last of them reported."""


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

    @classmethod
    def read(cls, text: str) -> Self:
        """Reads an entry from its JSON."""
        return cls(**load_json(text))

    @property
    def offered(self) -> set[str]:
        """The releases for which the worker is offered: none while it is busy."""
        return set() if self.busy else set(self.releases)


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
        entry = WorkerEntry(list(releases), busy, memory)
        with self._redis_client.connection() as redis:
            last = cast("str | None", redis.get(_entry_key(worker)))
            changes = redis.pipeline(transaction=True)
            changes.set(_entry_key(worker), dump_json(entry._asdict()), ex=PRESENT_SECONDS)
            changes.sadd(WORKERS, worker)
            for release in (WorkerEntry.read(last).offered if last else set()) - entry.offered:
                changes.srem(_idle_key(release), worker)
            for release in entry.offered:
                changes.sadd(_idle_key(release), worker)
                changes.expire(_idle_key(release), IDLE_SECONDS)
            if not busy:
                changes.delete(_reservation_key(worker))
            changes.execute()

    def renew(self, worker: str) -> None:
        """Keeps a worker's entry. If Redis has lost it, the worker is listed as idle and without releases.

        Also looks at one other worker, and removes it if it no longer runs, so that all are looked at again and again.
        """
        with self._redis_client.connection() as redis:
            exists = redis.expire(_entry_key(worker), PRESENT_SECONDS)
            other = cast("str | None", redis.srandmember(WORKERS))
            if other not in (None, worker) and not redis.exists(_entry_key(other)):
                self._remove(other)
        if not exists:
            self.report(worker, [], busy=False)

    def entries(self) -> dict[str, WorkerEntry]:
        """The entries of all workers that run, by name."""
        with self._redis_client.connection() as redis:
            workers = sorted(cast("set[str]", redis.smembers(WORKERS)))
        entries = self._read_entries(workers)
        return {worker: entry for worker, entry in entries.items() if entry is not None}

    def find_idle(self, release: str) -> str | None:
        """Reserves an idle worker that has a release in memory; None if none is found.

        The worker is not found again until it reports that it is idle, or the reservation expires.
        """
        with self._redis_client.connection() as redis:
            workers = cast("list[str]", redis.srandmember(_idle_key(release), LOOKED_AT))
        for worker, entry in self._read_entries(workers).items():
            if entry is None or release not in entry.offered:
                self._withdraw(worker, release)
            elif self._reserve(worker):
                return worker
        return None

    def _read_entries(self, workers: Sequence[str]) -> dict[str, WorkerEntry | None]:
        """The entries by worker; None for a worker whose entry has expired."""
        if not workers:
            return {}
        with self._redis_client.connection() as redis:
            entries = cast("list[str | None]", redis.mget(map(_entry_key, workers)))
        return {
            worker: WorkerEntry.read(entry) if entry is not None else None
            for worker, entry in zip(workers, entries, strict=True)
        }

    def _withdraw(self, worker: str, release: str) -> None:
        """Stops offering a worker for a release, after its entry has expired or changed."""
        with self._redis_client.connection() as redis:
            redis.srem(_idle_key(release), worker)

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


def _idle_key(release: str) -> str:
    """Key of the names of the idle workers that have a release in memory."""
    return f"{WORKERS}:idle:{release}"


def _reservation_key(worker: str) -> str:
    return _entry_key(worker) + ":reserved"
