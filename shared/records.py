"""The live view of jobs in Redis: a record each, claimed with a lease and a fence, and indices to list them by.

A record can be lost: the request and the manifest in S3 are what counts. Every change of state is one Lua script, so
that it happens whole or not at all, and only for whoever holds the job's fence.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from shared.errors import Unavailable
from shared.jobs import TERMINAL, Job, Progress, State, now
from shared.settings import Settings

PREFIX = "archetype:"
CHUNKS_AT_MOST = 20
"""Pages of an index that one page of a filtered list may look through before it returns what it has."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a job: good while the lease is renewed, void once the fence has moved on."""

    job_id: str
    fence: int
    attempt: int


class ClaimLost(Exception):
    """The job is somebody else's now; nothing more may be written of it."""


class Records:
    """Jobs as they stand now. Every call raises `Unavailable` when Redis does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            settings.redis_url,
            decode_responses=True,
            socket_timeout=5,
            socket_connect_timeout=3,
            health_check_interval=25,
            retry=Retry(ExponentialBackoff(cap=1, base=0.05), 4),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError],
        )
        self._lease_ms = int(settings.lease_seconds * 1000)
        folder = resources.files("shared") / "lua"
        self._scripts = {
            name: self._redis.register_script((folder / f"{name}.lua").read_text())
            for name in ("create", "claim", "renew", "finish", "give_back", "release")
        }

    @contextmanager
    def connection(self) -> Iterator[redis.Redis]:
        """The client, for what is no job; raises `Unavailable` when Redis does not answer."""
        with _translated():
            yield self._redis

    def ping(self) -> None:
        with _translated():
            self._redis.ping()

    def create(self, job: Job) -> bool:
        """Writes the record of a queued job and puts it into the indices; False if there is one already."""
        keys = [_job(job.id), _key("pending"), *_indices(job), _index("state", State.QUEUED)]
        created = int(job.created_at.timestamp() * 1000)
        with _translated():
            return bool(self._scripts["create"](keys, [job.id, job.model_dump_json(), created]))

    def find(self, job_id: str) -> Job | None:
        """The job as its record tells it: without artefacts, metrics and error, which only the manifest has."""
        with _translated():
            record = cast("dict[str, str]", self._redis.hgetall(_job(job_id)))
        return _read_record(record)

    def remember(self, job: Job) -> None:
        """Writes the record of a job that has ended, from its manifest."""
        plain = job.model_copy(update={"artifacts": [], "metrics": {}, "error": None, "provenance": {}})
        progress = job.progress
        fields: dict[str, str | int] = {
            "job": plain.model_dump_json(), "state": job.state.value, "fence": 0, "attempt": job.attempt,
            "done": progress.done, "total": progress.total, "unit": progress.unit,
        }  # fmt: skip
        for name, moment in (("started_at", job.started_at), ("finished_at", job.finished_at)):
            if moment is not None:
                fields[name] = moment.isoformat()
        with _translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_job(job.id), mapping=cast("dict[Any, Any]", fields))
            for index in [*_indices(job), _index("state", job.state)]:
                pipe.zadd(index, {job.id: 0})
            pipe.execute()

    def delete(self, job: Job) -> None:
        """Forgets a job that has ended."""
        with _translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(_job(job.id))
            for index in [*_indices(job), *(_index("state", state) for state in TERMINAL)]:
                pipe.zrem(index, job.id)
            pipe.execute()

    def page(self, *, filters: dict[str, str], limit: int, after: str | None) -> tuple[list[Job], str | None]:
        """A page of jobs, newest first, and the id to go on after, if there may be more.

        Args:
            filters: `state`, `method`, `model` (`name` or `name@release`) or `tag`, and what it must be.
            limit: Most jobs on the page.
            after: The last id of the page before.
        """
        first, *others = [_index(facet, value) for facet, value in filters.items()] or [_index("all")]
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

    def _walk(self, index: str, after: str | None, count: int) -> list[str]:
        top = f"({after}" if after else "+"
        with _translated():
            return cast("list[str]", self._redis.zrange(index, top, "-", bylex=True, desc=True, offset=0, num=count))

    def _in_all(self, ids: list[str], indices: list[str]) -> list[str]:
        for index in indices:
            with _translated():
                scores = self._redis.zmscore(index, ids) if ids else []
            ids = [job_id for job_id, score in zip(ids, scores, strict=True) if score is not None]
        return ids

    def _find_all(self, ids: list[str]) -> list[Job]:
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(_job(job_id))
            records = pipe.execute()
        return [job for record in records if (job := _read_record(record)) is not None]

    def count(self, state: State) -> int:
        """How many jobs are in a state."""
        with _translated():
            return self._redis.zcard(_index("state", state))

    def claim(self, job_id: str, owner: str) -> Claim | None:
        """Takes a queued job, or returns None: it is somebody's, it has ended, or it never was."""
        keys = _keys_to_move(job_id, State.QUEUED, State.RUNNING)
        with _translated():
            taken = self._scripts["claim"](keys, [job_id, owner, self._lease_ms, now().isoformat()])
        return Claim(job_id, fence=taken[0], attempt=taken[1]) if taken else None

    def renew(self, claim: Claim, progress: Progress) -> bool:
        """Extends the lease and notes progress; returns whether the job is to be cancelled.

        Raises:
            ClaimLost: The job is somebody else's now.
        """
        arguments: list[str | int] = [
            claim.job_id,
            claim.fence,
            self._lease_ms,
            progress.done,
            progress.total,
            progress.unit,
        ]
        with _translated():
            answer = self._scripts["renew"]([_job(claim.job_id), _key("leases")], arguments)
        if answer == -1:
            raise ClaimLost(claim.job_id)
        return bool(answer)

    def finish(self, claim: Claim, job: Job) -> None:
        """Writes the terminal state. Raises `ClaimLost` if the claim is void."""
        state = job.state.value
        keys = [_job(claim.job_id), _key("leases"), _index("state", State.RUNNING), _index("state", job.state)]
        moment = (job.finished_at or now()).isoformat()
        with _translated():
            written = self._scripts["finish"](keys, [claim.job_id, claim.fence, state, moment])
        if not written:
            raise ClaimLost(claim.job_id)

    def give_back(self, claim: Claim) -> None:
        """Puts a job back into the queue as if it had not been taken. Raises `ClaimLost` if the claim is void."""
        keys = _keys_to_move(claim.job_id, State.RUNNING, State.QUEUED)
        with _translated():
            given = self._scripts["give_back"](keys, [claim.job_id, claim.fence])
        if not given:
            raise ClaimLost(claim.job_id)

    def ask_to_cancel(self, job_id: str) -> None:
        """Notes that the job is to be cancelled; whoever works on it sees it at the next step."""
        with _translated():
            self._redis.hset(_job(job_id), "cancel", "1")

    def expired(self, count: int = 100) -> list[str]:
        """Jobs whose lease has run out."""
        with _translated():
            return cast(
                "list[str]", self._redis.zrange(_key("leases"), 0, self._now_ms(), byscore=True, offset=0, num=count)
            )

    def release(self, job_id: str) -> bool:
        """Gives a job whose lease has run out back to the queue; False if it was renewed or has ended."""
        keys = _keys_to_move(job_id, State.RUNNING, State.QUEUED)
        with _translated():
            return bool(self._scripts["release"](keys, [job_id]))

    def stale(self, seconds: float, count: int = 100) -> list[str]:
        """Queued jobs whose message was sent longer ago than that; their clock starts again."""
        with _translated():
            moment = self._now_ms()
            found = self._redis.zrange(
                _key("pending"), 0, int(moment - seconds * 1000), byscore=True, offset=0, num=count
            )
            ids = cast("list[str]", found)
            if ids:
                self._redis.zadd(_key("pending"), dict.fromkeys(ids, moment), xx=True)
        return ids

    def take_turn(self, what: str, seconds: float) -> bool:
        """Whether it is this process's turn to do something that one in the whole system should do."""
        with _translated():
            return bool(self._redis.set(_key(f"turn:{what}"), "1", nx=True, px=int(seconds * 1000)))

    def reserve(self, idempotency_key: str, value: str, seconds: int) -> str:
        """Binds a key to a value for a while, unless it is bound; returns what it is bound to."""
        with _translated():
            name = _key(f"idempotency:{idempotency_key}")
            if self._redis.set(name, value, nx=True, ex=seconds):
                return value
            return cast("str | None", self._redis.get(name)) or value

    @contextmanager
    def alone(self, what: str, seconds: int) -> Iterator[bool]:
        """Whether nobody else in the whole system does the same meanwhile, for so many seconds at most."""
        name = _key(f"alone:{what}")
        with _translated():
            free = bool(self._redis.set(name, 1, nx=True, ex=seconds))
        try:
            yield free
        finally:
            if free:
                with _translated():
                    self._redis.delete(name)

    def keep_alone(self, what: str, seconds: int) -> None:
        """For so many seconds more."""
        with _translated():
            self._redis.expire(_key(f"alone:{what}"), seconds)

    def _now_ms(self) -> int:
        seconds, micros = self._redis.time()
        return seconds * 1000 + micros // 1000


def _read_record(record: dict[str, str]) -> Job | None:
    if "job" not in record:
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
    }
    return Job.model_validate({**Job.model_validate_json(record["job"]).model_dump(), **live})


def _keys_to_move(job_id: str, source: State, goal: State) -> list[str]:
    """What a script touches that moves a job between queued and running."""
    return [_job(job_id), _key("leases"), _key("pending"), _index("state", source), _index("state", goal)]


def _indices(job: Job) -> list[str]:
    """The indices that a job is in from first to last; the one of its state changes and is not among them."""
    name = job.model.partition("@")[0]
    facets = [("method", job.method), ("model", name), ("model", job.model), *(("tag", tag) for tag in job.tags)]
    return [_index("all"), *(_index(facet, value) for facet, value in facets)]


def _job(job_id: str) -> str:
    return _key(f"job:{job_id}")


def _index(facet: str, value: str = "") -> str:
    return _key(f"index:{facet}:{value}")


def _key(name: str) -> str:
    return PREFIX + name


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise Unavailable("the queue (Redis) does not answer; try again in a moment") from error
