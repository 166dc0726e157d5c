"""Which workers are there, which networks they hold, and whether they are at work: a hint, never the truth.

A job for a network that an idle worker holds goes to that worker's own queue, and nothing has to be loaded. A hint that
was wrong costs some seconds: a job that waits for longer is sent to everybody by the sweep.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple, cast

from shared.records import Records

PRESENT_SECONDS = 30
"""A worker that does not renew its entry for longer is not there."""

RESERVED_MS = 3000
"""For so long a worker that was sent a job is not found again, unless it has ended it: the message is on its way."""


def name_queue(worker: str) -> str:
    """The queue of one worker's own."""
    return f"worker.{worker}"


class Entry(NamedTuple):
    """What a worker says of itself."""

    releases: list[str]
    busy: bool
    memory: int = 0


class Presence:
    """The workers' entries in Redis. Every call raises `Unavailable` when Redis does not answer."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def report(self, worker: str, releases: Sequence[str], *, busy: bool, memory: int = 0) -> None:
        """What a worker holds, by reference, whether it is at work, and how many bytes of a GPU's memory it has."""
        entry = json.dumps({"releases": list(releases), "busy": busy, "memory": memory})
        with self._records.connection() as redis:
            redis.set(_entry(worker), entry, ex=PRESENT_SECONDS)
            redis.sadd(WORKERS, worker)
            if not busy:
                redis.delete(_reservation(worker))

    def renew(self, worker: str) -> None:
        """It is still there. Where Redis has forgotten it, it is idle until it says otherwise."""
        with self._records.connection() as redis:
            known = redis.expire(_entry(worker), PRESENT_SECONDS)
        if not known:
            self.report(worker, [], busy=False)

    def entries(self) -> dict[str, "Entry"]:
        """The workers that are there."""
        with self._records.connection() as redis:
            workers = sorted(cast("set[str]", redis.smembers(WORKERS)))
            found = cast("list[str | None]", redis.mget([_entry(worker) for worker in workers])) if workers else []
        return {
            worker: Entry(**json.loads(entry))
            for worker, entry in zip(workers, found, strict=True)
            if entry is not None
        }

    def find_idle(self, release: str) -> str | None:
        """A worker that holds this release and is idle; it is not found again for a moment."""
        with self._records.connection() as redis:
            workers = sorted(cast("set[str]", redis.smembers(WORKERS)))
            entries = cast("list[str | None]", redis.mget([_entry(worker) for worker in workers])) if workers else []
            for worker, entry in zip(workers, entries, strict=True):
                if entry is None:
                    redis.srem(WORKERS, worker)
                    redis.delete(name_queue(worker))  # what was in it, the sweep sends to everybody
                    continue
                said = json.loads(entry)
                free = release in said["releases"] and not said["busy"]
                if free and redis.set(_reservation(worker), 1, nx=True, px=RESERVED_MS):
                    return worker
        return None


WORKERS = "archetype:workers"


def _entry(worker: str) -> str:
    return f"archetype:worker:{worker}"


def _reservation(worker: str) -> str:
    return _entry(worker) + ":reserved"
