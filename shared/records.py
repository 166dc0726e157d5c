"""The live view of jobs in Redis: a record each, and indices to list them by.

A record can be lost: the request and the manifest in S3 are what counts.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from shared.errors import Unavailable
from shared.jobs import TERMINAL, Job, Manifest, Progress, State
from shared.settings import Settings

PREFIX = "archetype:"
FORMAT = 1
"""Of a record; one that a newer version has written in a higher one is as good as none."""

TRY_SECONDS = 3600
"""For so long a try is remembered."""

CHUNKS_AT_MOST = 20
"""Pages of an index that one page of a filtered list may look through before it returns what it has."""


class Usage(NamedTuple):
    """What a tenant has: jobs that run, targets of jobs that have not ended, bytes stored."""

    running: int
    targets: int
    stored: int


class Records:
    """Jobs as they stand now. Every call raises `Unavailable` when Redis does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            settings.redis_url,
            **cast("Any", settings.redis_tls),
            decode_responses=True,
            socket_timeout=5,
            socket_connect_timeout=3,
            health_check_interval=25,
            retry=Retry(ExponentialBackoff(cap=1, base=0.05), 4),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError],
        )

    @contextmanager
    def connection(self) -> Iterator[redis.Redis]:
        """The client, for what is no job; raises `Unavailable` when Redis does not answer."""
        with translated():
            yield self._redis

    def ping(self) -> None:
        with translated():
            self._redis.ping()

    def find(self, job_id: str) -> Job | None:
        """The job as its record tells it: without artefacts and metrics, which only the manifest has."""
        with translated():
            record = cast("dict[str, str]", self._redis.hgetall(key_of_job(job_id)))
        return _read_record(record)

    def find_manifest(self, job_id: str) -> int:
        """The fence of the manifest that counts; 0 where the record does not know of one."""
        with translated():
            return int(self._redis.hget(key_of_job(job_id), "manifest") or 0)

    def remember(self, manifest: Manifest) -> None:
        """Writes the record of a job that has ended, from its manifest."""
        job = manifest.job
        plain = job.model_copy(update={"artifacts": [], "metrics": {}, "error": None, "provenance": {}})
        progress = job.progress
        fields: dict[str, str | int] = {
            "format": FORMAT, "job": plain.model_dump_json(), "tenant": job.tenant, "state": job.state.value,
            "fence": manifest.fence, "attempt": job.attempt,
            "done": progress.done, "total": progress.total, "unit": progress.unit, "manifest": manifest.fence,
            "bytes": job.bytes,
        }  # fmt: skip
        for name, moment in (("started_at", job.started_at), ("finished_at", job.finished_at)):
            if moment is not None:
                fields[name] = moment.isoformat()
        if job.error is not None:
            fields["error"] = job.error.model_dump_json()
        with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key_of_job(job.id), mapping=cast("dict[Any, Any]", fields))
            for name in [*lists_of(job), *states_of(job, job.state)]:
                pipe.zadd(name, {job.id: 0})
            for name in states_of(job, State.QUEUED, State.RUNNING):
                pipe.zrem(name, job.id)
            pipe.execute()

    def delete(self, job: Job) -> None:
        """Forgets a job that has ended."""
        with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.decrby(key_of_stored(job.tenant), int(self._redis.hget(key_of_job(job.id), "bytes") or 0))
            pipe.delete(key_of_job(job.id))
            for name in [*lists_of(job), *states_of(job, *TERMINAL)]:
                pipe.zrem(name, job.id)
            pipe.execute()

    def page(
        self, tenant: str, *, filters: dict[str, str], limit: int, after: str | None
    ) -> tuple[list[Job], str | None]:
        """A page of a tenant's jobs, newest first, and the id to go on after, if there may be more.

        Args:
            filters: `state`, `method`, `model` (`name` or `name@release`) or `tag`, and what it must be.
            limit: Most jobs on the page.
            after: The last id of the page before.
        """
        lists = [key_of_list(tenant, facet, value) for facet, value in filters.items()]
        first, *others = lists or [key_of_list(tenant, "all")]
        jobs: list[Job] = []
        for _ in range(CHUNKS_AT_MOST):
            ids = self._walk(first, after, limit + 1)
            jobs += self._find_all(self._in_all(ids, others))
            if len(jobs) > limit:
                return jobs[:limit], jobs[limit - 1].id
            if len(ids) <= limit:
                return jobs, None
            after = ids[-1]
        return jobs, after

    def _walk(self, name: str, after: str | None, count: int) -> list[str]:
        top = f"({after}" if after else "+"
        with translated():
            return cast("list[str]", self._redis.zrange(name, top, "-", bylex=True, desc=True, offset=0, num=count))

    def _in_all(self, ids: list[str], names: list[str]) -> list[str]:
        for name in names:
            with translated():
                scores = self._redis.zmscore(name, ids) if ids else []
            ids = [job_id for job_id, score in zip(ids, scores, strict=True) if score is not None]
        return ids

    def _find_all(self, ids: list[str]) -> list[Job]:
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(key_of_job(job_id))
            records = pipe.execute()
        return [job for record in records if (job := _read_record(record)) is not None]

    def count(self, state: State) -> int:
        """How many jobs are in a state, whosever they are."""
        with translated():
            return self._redis.zcard(key_of_state(state))

    def usage(self, tenant: str) -> Usage:
        """What a tenant has at this moment."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zcard(key_of_list(tenant, "state", State.RUNNING))
            pipe.get(key(f"targets:{tenant}"))
            pipe.get(key_of_stored(tenant))
            return Usage(*(int(count or 0) for count in pipe.execute()))

    def add_stored(self, tenant: str, count: int) -> None:
        """Notes that a tenant has stored so many bytes more."""
        with translated():
            self._redis.incrby(key_of_stored(tenant), count)

    def set_stored(self, stored: Mapping[str, int]) -> None:
        """Notes how many bytes each tenant has stored, as the store says."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for tenant, count in stored.items():
                pipe.set(key_of_stored(tenant), count)
            pipe.execute()

    def tenants(self, job_ids: Sequence[str]) -> list[str | None]:
        """Whose each of these jobs is; None where there is no record of it."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(key_of_job(job_id), "tenant")
            return pipe.execute()

    def unfinished(self) -> list[str]:
        """Every job that is queued or running."""
        with translated():
            return [
                job_id
                for state in (State.QUEUED, State.RUNNING)
                for job_id in cast("list[str]", self._redis.zrange(key_of_state(state), 0, -1))
            ]

    def count_try(self, what: str) -> int:
        """How often something was tried lately, this time among them."""
        name = key(f"tries:{what}")
        with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.incr(name)
            pipe.expire(name, TRY_SECONDS)
            return int(pipe.execute()[0])

    def forget_tries(self, what: str) -> None:
        """It went well."""
        with translated():
            self._redis.delete(key(f"tries:{what}"))

    def take_turn(self, what: str, seconds: float) -> bool:
        """Whether it is this process's turn to do something that one in the whole system should do."""
        with translated():
            return bool(self._redis.set(key(f"turn:{what}"), "1", nx=True, px=int(seconds * 1000)))

    def keep_place(self, what: str, owner: str, *, places: int, seconds: float) -> bool:
        """Whether this owner has one of so many places, for so many seconds more; a free one is taken."""
        names, milliseconds = [key(f"place:{what}:{number}") for number in range(places)], int(seconds * 1000)
        with translated():
            for name in names:
                if self._redis.get(name) == owner and self._redis.pexpire(name, milliseconds):
                    return True
            return any(self._redis.set(name, owner, nx=True, px=milliseconds) for name in names)

    def reserve(self, tenant: str, idempotency_key: str, value: str, seconds: int) -> str:
        """Binds a tenant's key to a value for a while, unless it is bound; returns what it is bound to."""
        with translated():
            name = key(f"idempotency:{tenant}:{idempotency_key}")
            if self._redis.set(name, value, nx=True, ex=seconds):
                return value
            return cast("str | None", self._redis.get(name)) or value

    def find_reserved(self, tenant: str, idempotency_key: str) -> str | None:
        """What a tenant's key is bound to."""
        with translated():
            return cast("str | None", self._redis.get(key(f"idempotency:{tenant}:{idempotency_key}")))

    @contextmanager
    def alone(self, what: str, seconds: int) -> Iterator[bool]:
        """Whether nobody else in the whole system does the same meanwhile, for so many seconds at most."""
        name = key(f"alone:{what}")
        with translated():
            free = bool(self._redis.set(name, 1, nx=True, ex=seconds))
        try:
            yield free
        finally:
            if free:
                with translated():
                    self._redis.delete(name)

    def keep_alone(self, what: str, seconds: int) -> None:
        """For so many seconds more."""
        with translated():
            self._redis.expire(key(f"alone:{what}"), seconds)


def _read_record(record: dict[str, str]) -> Job | None:
    if "job" not in record or int(record.get("format", 1)) > FORMAT:
        return None
    progress = Progress(
        done=int(record.get("done", 0)), total=int(record.get("total", 0)), unit=record.get("unit", "step")
    )
    live = {
        "state": State(record["state"]),
        "attempt": int(record["attempt"]),
        "progress": progress,
        "started_at": record.get("started_at"),
        "finished_at": record.get("finished_at"),
        "error": json.loads(record["error"]) if "error" in record else None,
    }
    return Job.model_validate({**Job.model_validate_json(record["job"]).model_dump(), **live})


def lists_of(job: Job) -> list[str]:
    """Its tenant's lists that a job is in from first to last; the one of its state changes and is not among them."""
    name = job.model.partition("@")[0]
    facets = [("method", job.method), ("model", name), ("model", job.model), *(("tag", tag) for tag in job.tags)]
    return [key_of_list(job.tenant, "all"), *(key_of_list(job.tenant, facet, value) for facet, value in facets)]


def states_of(job: Job, *states: State) -> list[str]:
    """Where a job is noted while it is in one of these states: with all jobs, and with its tenant's."""
    return [name for state in states for name in (key_of_state(state), key_of_list(job.tenant, "state", state))]


def key_of_job(job_id: str) -> str:
    """Where a job's record lies."""
    return key(f"job:{job_id}")


def key_of_list(tenant: str, facet: str, value: str = "") -> str:
    """Where the ids of a tenant's jobs lie that have something in common."""
    return key(f"list:{tenant}:{facet}:{value}")


def key_of_stored(tenant: str) -> str:
    """Where the bytes are counted that a tenant has stored."""
    return key(f"stored:{tenant}")


def key_of_state(state: State) -> str:
    """Where the ids of all jobs in a state lie."""
    return key(f"state:{state}")


def key(name: str) -> str:
    """A key of ours."""
    return PREFIX + name


@contextmanager
def translated() -> Iterator[None]:
    """Redis' errors as ours."""
    try:
        yield
    except redis.RedisError as error:
        raise Unavailable("the queue (Redis) does not answer; try again in a moment") from error
