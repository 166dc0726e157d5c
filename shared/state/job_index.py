"""The current state of jobs in Redis: one record for each job, and lists to find jobs by their properties.

The records can be rebuilt: the source of truth is the request and the manifest in S3.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from archetype.contract.job import TERMINAL, Job, Progress, State, links_of
from archetype.contract.strict_json import load_json
from shared.state.keys import (
    RECORD_FORMAT,
    key,
    key_of_history,
    key_of_job,
    key_of_list,
    key_of_state,
    key_of_stored,
    lists_of,
    states_of,
)
from shared.state.memory import RUNS_IF_FULL
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest

MAX_CHUNKS = 20
"""Pages of the first list that are read for one page of filtered jobs. After that, the page is returned as it is."""

DELETE = """
local bytes = redis.call('HGET', KEYS[1], 'bytes')
local deleted = redis.call('DEL', KEYS[1]) -- frees memory, so that a full Redis refuses none of the other writes
for list = 3, #KEYS do redis.call('ZREM', KEYS[list], ARGV[1]) end
if bytes then redis.call('DECRBY', KEYS[2], bytes) end
return deleted
"""
"""Removes a finished job. Returns whether it had a record.
KEYS: record, stored bytes of the tenant, lists   ARGV: id"""

MOVE = """
local moved = redis.call('DEL', KEYS[1]) -- frees memory, so that a full Redis refuses none of the other writes
for list = 3, #KEYS do redis.call('ZREM', KEYS[list], ARGV[1]) end
if moved == 1 then redis.call('INCR', KEYS[2]) end
return moved
"""
"""Removes the record of a finished job that the history contains. Returns whether it had one.
KEYS: record, number of jobs of its state in the history, lists   ARGV: id"""

COUNT_REMOVED = (
    RUNS_IF_FULL
    + """
for number, name in ipairs(KEYS) do redis.call('DECRBY', name, ARGV[number]) end
"""
)
"""KEYS: counters   ARGV: how much less each of them is"""

POSITION = key("history:position")

SCANNED = 500
"""Records that are read at the same time."""

SET_ALL = RUNS_IF_FULL + "for number, name in ipairs(KEYS) do redis.call('SET', name, ARGV[number]) end"

NOT_IN_RECORDS = frozenset({"artifacts", "metrics", "provenance", "links"})
"""Fields of a finished job that only its manifest has, and links, which follow from the id."""


IN_RECORDS = frozenset({"attempt", "started_at", "finished_at", "progress", "error"})
"""Fields of a job that are fields of its record, too."""


class Ended(NamedTuple):
    """A job that has ended, from its record.

    Attributes:
        job: The job without artifacts, metrics and provenance.
        fence: Fence of its manifest; 0 if the store did not accept one.
        bytes: Bytes of all its artifacts.
    """

    job: Job
    fence: int
    bytes: int


class Usage(NamedTuple):
    """How much a tenant uses at the moment.

    Attributes:
        running: Running jobs.
        targets: Targets of all jobs that have not finished.
        stored: Stored bytes.
    """

    running: int
    targets: int
    stored: int


class JobIndex:
    """Records and lists of jobs. Every call raises `Unavailable` if Redis does not answer."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client
        with redis_client.connection() as redis:
            self._delete, self._set_all = redis.register_script(DELETE), redis.register_script(SET_ALL)
            self._move, self._count_removed = redis.register_script(MOVE), redis.register_script(COUNT_REMOVED)

    @property
    def redis_client(self) -> RedisClient:
        """The client of the Redis that contains the records."""
        return self._redis_client

    def find(self, job_id: str) -> Job | None:
        """A job without artifacts, metrics and provenance, which only the manifest has; None if there is no record."""
        with self._redis_client.connection() as redis:
            record = cast("dict[str, str]", redis.hgetall(key_of_job(job_id)))
        return _parse_record(record)

    def find_manifest_fence(self, job_id: str) -> int | None:
        """The fence of the job's manifest; 0 if the record has none, and None if there is no record."""
        with self._redis_client.connection() as redis:
            state, fence = cast("list[str | None]", redis.hmget(key_of_job(job_id), ["state", "manifest"]))
        return None if state is None else int(fence or 0)

    def save_finished(self, manifest: Manifest) -> None:
        """Writes the record of a finished job from its manifest, and puts the job into all lists."""
        job = manifest.job
        with self._redis_client.connection() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.hset(key_of_job(job.id), mapping=cast("dict[Any, Any]", _build_record(manifest)))
            for name in [*lists_of(job), *states_of(job, job.state)]:
                pipe.zadd(name, {job.id: 0})
            for name in states_of(job, State.QUEUED, State.RUNNING):
                pipe.zrem(name, job.id)
            pipe.execute()

    def delete(self, job: Job) -> bool:
        """Removes a finished job from all lists, also if Redis is full; returns whether it had a record."""
        keys = [key_of_job(job.id), key_of_stored(job.tenant), *lists_of(job), *states_of(job, *TERMINAL)]
        with self._redis_client.connection():
            return bool(self._delete(keys, [job.id]))

    def list_ended(self) -> Iterator[Ended]:
        """All jobs that have ended and have a record, by state and id."""
        for state in sorted(TERMINAL):
            last: str | None = None
            while ids := self._list_upwards(key_of_state(state), last):
                last = ids[-1]
                records = self._read_records(ids)
                for record in records:
                    job = _parse_record(record)
                    if job is not None and job.state.terminal:
                        yield Ended(job, int(record.get("manifest", 0)), int(record.get("bytes", 0)))

    def _list_upwards(self, name: str, after: str | None) -> list[str]:
        start = f"({after}" if after else "-"
        with self._redis_client.connection() as redis:
            return cast("list[str]", redis.zrange(name, start, "+", bylex=True, offset=0, num=SCANNED))

    def forget_moved(self, jobs: Sequence[Job]) -> list[Job]:
        """Removes the records of finished jobs that the history contains, and these jobs from all lists.

        Returns:
            The jobs that had no record any more.
        """
        with self._redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
            for job in jobs:
                keys = [key_of_job(job.id), key_of_history(job.state), *lists_of(job), *states_of(job, *TERMINAL)]
                self._move(keys, [job.id], client=pipe)
            moved = pipe.execute()
        return [job for job, is_moved in zip(jobs, moved, strict=True) if not is_moved]

    def count_removed(self, tenant: str, states: Mapping[str, int], size: int) -> None:
        """Subtracts jobs that were removed from the history: from its numbers of jobs, and from the stored bytes."""
        counts = {key_of_stored(tenant): size} | {key_of_history(State(state)): n for state, n in states.items()}
        with self._redis_client.connection():
            self._count_removed(list(counts), list(counts.values()))

    def find_history_position(self) -> str | None:
        """How far the store was compared with the history since Redis was empty; None if it was not."""
        with self._redis_client.connection() as redis:
            return cast("str | None", redis.get(POSITION))

    def set_history_position(self, position: str) -> None:
        """Stores how far the store was compared with the history; also if the memory of Redis is full."""
        with self._redis_client.connection():
            self._set_all([POSITION], [position])

    def set_history(self, states: Mapping[str, int]) -> None:
        """Sets the number of jobs of each state in the history; also if the memory of Redis is full."""
        with self._redis_client.connection():
            self._set_all([key_of_history(state) for state in TERMINAL], [states.get(state, 0) for state in TERMINAL])

    def page(
        self, tenant: str, *, filters: dict[str, str], limit: int, after: str | None
    ) -> tuple[list[Job], str | None]:
        """A page of a tenant's jobs that have a record, newest first. `JobList` adds those in the history.

        Args:
            tenant: The tenant.
            filters: Required values of `state`, `method`, `model` (`name` or `name@release`) and `tag`.
            limit: Maximum number of jobs.
            after: The last id of the previous page.

        Returns:
            The jobs, and the id after which the next page starts; None if this is the last page.
        """
        lists = [key_of_list(tenant, facet, value) for facet, value in filters.items()]
        first, *others = lists or [key_of_list(tenant, "all")]
        jobs: list[Job] = []
        for _ in range(MAX_CHUNKS):
            ids = self._list_ids(first, after, limit + 1)
            jobs += self._find_all(self._filter(ids, others))
            if len(jobs) > limit:
                return jobs[:limit], jobs[limit - 1].id
            if len(ids) <= limit:
                return jobs, None
            after = ids[-1]
        return jobs, after

    def _list_ids(self, name: str, after: str | None, count: int) -> list[str]:
        start = f"({after}" if after else "+"
        with self._redis_client.connection() as redis:
            return cast("list[str]", redis.zrange(name, start, "-", bylex=True, desc=True, offset=0, num=count))

    def _filter(self, ids: list[str], names: list[str]) -> list[str]:
        for name in names:
            with self._redis_client.connection() as redis:
                scores = redis.zmscore(name, ids) if ids else []
            ids = [job_id for job_id, score in zip(ids, scores, strict=True) if score is not None]
        return ids

    def _find_all(self, ids: list[str]) -> list[Job]:
        return [job for record in self._read_records(ids) if (job := _parse_record(record)) is not None]

    def _read_records(self, ids: list[str]) -> list[dict[str, str]]:
        with self._redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(key_of_job(job_id))
            return pipe.execute()

    def count(self, state: State) -> int:
        """Number of jobs of all tenants in a state, with those in the history."""
        with self._redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.zcard(key_of_state(state))
            pipe.get(key_of_history(state))
            return sum(int(count or 0) for count in pipe.execute())

    def count_queued(self, tenant: str) -> tuple[int, int]:
        """Number of queued jobs of all tenants, and of one tenant."""
        with self._redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.zcard(key_of_state(State.QUEUED))
            pipe.zcard(key_of_list(tenant, "state", State.QUEUED))
            total, own = pipe.execute()
        return total, own

    def count_shards(self, tenant: str) -> int:
        """Number of shards of a tenant's jobs that have not finished; those of earlier versions do not count."""
        with self._redis_client.connection() as redis:
            return int(redis.get(key(f"targets:{tenant}:shards")) or 0)

    def usage(self, tenant: str) -> Usage:
        """How much a tenant uses at the moment."""
        with self._redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.zcard(key_of_list(tenant, "state", State.RUNNING))
            pipe.get(key(f"targets:{tenant}"))
            pipe.get(key_of_stored(tenant))
            return Usage(*(int(count or 0) for count in pipe.execute()))

    def add_stored(self, tenant: str, count: int) -> None:
        """Adds to the number of bytes that a tenant has stored."""
        with self._redis_client.connection() as redis:
            redis.incrby(key_of_stored(tenant), count)

    def set_stored(self, stored: Mapping[str, int]) -> None:
        """Sets the number of stored bytes of each tenant; also if the memory of Redis is full."""
        with self._redis_client.connection():
            self._set_all([key_of_stored(tenant) for tenant in stored], list(stored.values()))

    def tenants(self, job_ids: Sequence[str]) -> list[str | None]:
        """The tenant of each of these jobs; None for a job without a record."""
        with self._redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(key_of_job(job_id), "tenant")
            return pipe.execute()

    def unfinished(self) -> list[str]:
        """Ids of all queued and running jobs."""
        with self._redis_client.connection() as redis:
            return [
                job_id
                for state in (State.QUEUED, State.RUNNING)
                for job_id in cast("list[str]", redis.zrange(key_of_state(state), 0, -1))
            ]


def summarize(job: Job) -> str:
    """The document in the record of a finished job: what lists show and no other field of the record contains."""
    return job.model_dump_json(exclude=set(NOT_IN_RECORDS | IN_RECORDS), exclude_defaults=True)


def _build_record(manifest: Manifest) -> dict[str, str | int]:
    job = manifest.job
    record: dict[str, str | int] = {
        "format": RECORD_FORMAT,
        "job": summarize(job),
        "tenant": job.tenant,
        "state": job.state.value,
        "attempt": job.attempt,
        "done": job.progress.done,
        "total": job.progress.total,
        "unit": job.progress.unit,
        "manifest": manifest.fence,
        "bytes": job.bytes,
    }
    for name, moment in (("started_at", job.started_at), ("finished_at", job.finished_at)):
        if moment is not None:
            record[name] = moment.isoformat()
    if job.error is not None:
        record["error"] = job.error.model_dump_json()
    return record


def _parse_record(record: dict[str, str]) -> Job | None:
    if "job" not in record or int(record.get("format", 1)) > RECORD_FORMAT:
        return None
    progress = Progress(
        done=int(record.get("done", 0)), total=int(record.get("total", 0)), unit=record.get("unit", "step")
    )
    current = {
        "state": State(record["state"]),
        "attempt": int(record["attempt"]),
        "progress": progress,
        "started_at": record.get("started_at"),
        "finished_at": record.get("finished_at"),
        "error": load_json(record["error"]) if "error" in record else None,
    }
    job = Job.model_validate_json(record["job"])
    return Job.model_validate({"links": links_of(job.id)} | job.model_dump(exclude_defaults=True) | current)
