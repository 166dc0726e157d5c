"""Claims: which worker works on which shard of a job.

A worker claims a shard and gets a fence and a lease. The **fence** is a number that grows with every claim of a job;
changes are accepted only from the holder of the current fence. The **lease** is a number that its holder raises again
and again. It has expired if an observer sees it unchanged for too long, measured with the observer's monotonic clock,
so that a change of the system time has no effect.

Every change is one Lua script, so that it is atomic.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, cast

from redis import Redis
from redis.exceptions import NoScriptError

from archetype.contract.job import Progress
from shared.queue.lanes import name_tenant_lane
from shared.queue.reader import Reader, describe_reader, name_section
from shared.queue.sharding import SHARD_SLOTS, UNLIMITED_ROOM
from shared.state.job_index import summarize
from shared.state.keys import PREFIX, RECORD_FORMAT, key, key_of_job, key_of_shard, lists_of
from shared.state.memory import RUNS_IF_FULL
from shared.state.redis_client import RedisClient
from shared.storage.documents import JobSpec, Manifest

MAX_BULK_WAIT_SECONDS = 600
"""A bulk job that has waited longer than this is claimed before interactive jobs, at every second claim."""

TURN_SECONDS = 3
"""A worker that has had a lane for longer leaves it if another tenant has waited for longer."""

MAX_COST = SHARD_SLOTS
"""Largest cost of a shard for its tenant, in batch slots. The size of a larger shard does not say how long it takes."""

SCRIPTS = (
    "announce_end",
    "claim",
    "create",
    "finish_job",
    "finish_shard",
    "give_back",
    "offer",
    "renew",
    "take_over",
    "unblock",
    "unpark",
    "withdraw",
)

MAX_UNPARKED = 1000
"""Shards that one call of `unpark` puts back into the queue, so that the script ends soon."""

MAX_OFFERED = 100
"""Parked shards that one call of `offer` looks at, so that its cost does not grow."""

BLOCKED = "held"
"""Name of the list of jobs that wait for other jobs. Stored under its earlier name."""

LOST = -1
"""Answer of a script if the caller no longer holds the claim."""

NEW_WORK = frozenset({"create"})
"""Scripts that need memory for more work. All others also run if the memory of Redis is full, so that work ends."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a shard. It is valid while the lease is renewed, and void once the fence has changed.

    Attributes:
        job_id: The job.
        shard: Number of the shard. If the job has several shards, the number after the last one stands for the
            assembly of their results; see `is_assembly`.
        fence: Fence of the claim.
        attempt: How many times this shard was claimed, including this time.
        size: Number of slots of the shard in a batch.
        shards: Number of shards of the job.
        lane: Lane of the shard.
        resumes: Whether an earlier attempt may have worked on the shard.
    """

    job_id: str
    shard: int
    fence: int
    attempt: int
    size: int = 1
    shards: int = 1
    lane: str = ""
    resumes: bool = False

    @property
    def ref(self) -> str:
        """Name of the shard: `{job id}:{shard number}`."""
        return f"{self.job_id}:{self.shard}"

    @property
    def is_assembly(self) -> bool:
        """Whether the claim is to assemble the results of all shards, after the last shard has finished."""
        return self.shards > 1 and self.shard == self.shards

    @property
    def is_partial(self) -> bool:
        """Whether the claim is for one of several shards, so that its end does not finish the job."""
        return self.shards > 1 and not self.is_assembly


@dataclass(frozen=True)
class Renewal:
    """The answer to one of several renewals.

    Attributes:
        is_lost: Whether the claim is void.
        cancel_reason: Why the job must be cancelled, or None.
    """

    is_lost: bool = False
    cancel_reason: str | None = None


class ClaimLost(Exception):
    """The claim is void: another worker has claimed the shard, or the job has finished. Nothing may be written."""


class Claims:
    """Claims on shards in Redis. Every call raises `Unavailable` if Redis does not answer."""

    def __init__(
        self,
        redis_client: RedisClient,
        tenant_shares: Mapping[str, float] | None = None,
        *,
        reader: Reader | None = None,
    ) -> None:
        """Registers the scripts.

        Args:
            redis_client: The Redis that contains the claims.
            tenant_shares: Shares of tenants that are not 1.
            reader: What the worker that claims can read; by default, what this version can read.
        """
        self._redis_client = redis_client
        self._tenant_shares = tenant_shares or {}
        self._given_reader = reader
        with redis_client.connection() as redis:
            self._scripts = {name: redis.register_script(_read_script(name)) for name in SCRIPTS}

    @property
    def redis_client(self) -> RedisClient:
        """The client of the Redis that contains the claims."""
        return self._redis_client

    @cached_property
    def _reader(self) -> Reader:
        return self._given_reader or describe_reader()

    def _run(self, script: str, keys: list[str], arguments: list[str | int]) -> object:
        with self._redis_client.connection():
            return self._scripts[script](keys, arguments)

    def create(self, job_id: str, spec: JobSpec, *, fence: int = 0, ended: Collection[int] = ()) -> bool:
        """Writes the record of a queued job and puts its shards into their lane.

        The shards of a job that waits for other jobs cannot be claimed before `unblock`.

        Args:
            job_id: The job.
            spec: The accepted request.
            fence: Highest fence that was ever used for the job.
            ended: Numbers of the shards that have already finished.

        Returns:
            False, without any change, if the job already has a record.
        """
        job = spec.job(job_id)
        lane = name_tenant_lane(spec.lane, job.tenant)
        keys = [key_of_job(job_id), key("deadlines"), key(BLOCKED), *lists_of(job)]
        arguments: list[str | int] = [
            PREFIX,
            job_id,
            job.tenant,
            job.model_dump_json(),
            int(spec.created_at.timestamp() * 1000),
            int(spec.deadline.timestamp() * 1000),
            lane,
            job.priority,
            fence,
            spec.weight,
            ",".join(spec.after),
            RECORD_FORMAT,
            spec.counted_targets,
            str(self._tenant_shares.get(job.tenant, 1)),
            name_section(spec.format),
            *_describe_shards(spec.shards, ended),
        ]
        return bool(self._run("create", keys, arguments))

    def list_blocked(self) -> dict[str, list[str]]:
        """The jobs that wait for other jobs, and for each of them the jobs that it waits for."""
        with self._redis_client.connection() as redis:
            ids = cast("list[str]", redis.zrange(key(BLOCKED), 0, -1))
            afters = [cast("str | None", redis.hget(key_of_job(job_id), "after")) for job_id in ids]
        return {job_id: (after or "").split(",") for job_id, after in zip(ids, afters, strict=True)}

    def unblock(self, job_id: str) -> bool:
        """Makes the shards of a blocked job claimable; False if the job is not blocked."""
        return bool(self._run("unblock", [key_of_job(job_id), key(BLOCKED)], [PREFIX, job_id]))

    def claim(self, owner: str, *, lane: str = "", room: int = UNLIMITED_ROOM, leaves: bool = False) -> Claim | None:
        """Claims the next shard that this worker can read; None if there is none.

        Args:
            owner: Name of the worker.
            lane: Claim only from this lane, and only while no lane of a higher priority is before it; empty for any
                lane.
            room: Number of free slots in the worker's batch. A shard of the given lane that is larger is not claimed.
            leaves: Claim nothing from the given lane if another tenant, whose turn it is, has waited in other lanes for
                `TURN_SECONDS`. One worker at a time leaves its lane for a tenant.
        """
        moment = self._redis_client.now().isoformat()
        arguments: list[str | int] = [
            PREFIX,
            owner,
            moment,
            lane,
            room,
            MAX_BULK_WAIT_SECONDS * 1000,
            MAX_COST,
            TURN_SECONDS * 1000 if leaves else "",
            *self._reader,
        ]
        fields = cast("list[Any] | None", self._run("claim", [key("leases")], arguments))
        return Claim(*fields) if fields else None

    def is_waiting(self) -> bool:
        """Whether any shard waits to be claimed that all workers can read."""
        with self._redis_client.connection() as redis:
            return bool(redis.exists(key("lanes:interactive"), key("lanes:bulk")))

    def renew(self, claim: Claim, progress: Progress) -> str | None:
        """Extends the lease and stores the progress of the shard.

        Args:
            claim: The claim.
            progress: Progress of the shard; ignored while its total is 0.

        Returns:
            Why the job must be cancelled, or None.

        Raises:
            ClaimLost: The claim is void.
        """
        renewal = _read_renewal(self._run("renew", self._keys(claim), _describe_renewal(claim, progress)))
        if renewal.is_lost:
            raise ClaimLost(claim.ref)
        return renewal.cancel_reason

    def renew_all(self, renewals: Sequence[tuple[Claim, Progress]]) -> list[Renewal]:
        """Extends several leases as `renew` does, with one call: its way there and back costs more than a renewal."""
        with self._redis_client.connection() as redis:
            try:
                return self._renew_all(redis, renewals)
            except NoScriptError:  # Redis was restarted
                redis.script_load(self._scripts["renew"].script)
                return self._renew_all(redis, renewals)

    def _renew_all(self, redis: Redis, renewals: Sequence[tuple[Claim, Progress]]) -> list[Renewal]:
        with redis.pipeline(transaction=False) as pipe:
            for claim, progress in renewals:
                keys = self._keys(claim)
                pipe.evalsha(self._scripts["renew"].sha, len(keys), *keys, *_describe_renewal(claim, progress))
            return [_read_renewal(answer) for answer in pipe.execute()]

    def finish_shard(self, claim: Claim, owner: str) -> Claim | None:
        """Marks one of several shards as finished.

        Args:
            claim: The claim of the shard.
            owner: Name of the worker, for logs.

        Returns:
            The claim to assemble the job if this was its last shard, otherwise None.

        Raises:
            ClaimLost: The claim is void.
        """
        assembly = f"{claim.job_id}:{claim.shards}"
        keys = [*self._keys(claim), key_of_shard(assembly)]
        answer = self._run("finish_shard", keys, [claim.ref, claim.fence, assembly, owner])
        if answer == LOST:
            raise ClaimLost(claim.ref)
        if not answer:
            return None
        fence, attempt = cast("list[int]", answer)
        return Claim(claim.job_id, claim.shards, fence, attempt, 1, claim.shards, claim.lane)

    def finish_job(self, claim: Claim, manifest: Manifest) -> None:
        """Writes the terminal state of a job, from its manifest. Raises `ClaimLost` if the claim is void."""
        job = manifest.job
        arguments: list[str | int] = [
            PREFIX,
            claim.job_id,
            claim.ref,
            claim.fence,
            job.state.value,
            (job.finished_at or self._redis_client.now()).isoformat(),
            manifest.fence,
            job.bytes,
            job.error.model_dump_json() if job.error is not None else "",
            job.progress.done,
            job.progress.total,
            job.progress.unit,
            summarize(job),
        ]
        if not self._run("finish_job", [*self._keys(claim), key("deadlines")], arguments):
            raise ClaimLost(claim.ref)

    def give_back(
        self,
        claim: Claim,
        *,
        counts: bool,
        max_attempts: int,
        alone: bool = False,
        waits: bool = False,
        unread: bool = False,
    ) -> None:
        """Puts a claimed shard back into the queue, at its earlier position.

        Args:
            claim: The claim.
            counts: Whether this attempt counts. If not, the next claim has the same attempt number.
            max_attempts: The last of so many attempts is made in a lane of its own, without co-batching.
            alone: Whether the next attempt is made in a lane of its own.
            waits: Whether the shard is parked: it cannot be claimed for a second, twice as long each time, and at most
                a minute. Then `unpark` puts it into the queue.
            unread: Whether this version cannot read the shard. Until `unpark` puts it into the queue, only workers of
                other versions can claim it.

        Raises:
            ClaimLost: The claim is void.
        """
        any_beat = ""
        arguments: list[str | int] = [
            PREFIX,
            claim.job_id,
            claim.ref,
            claim.fence,
            any_beat,
            int(counts),
            max_attempts,
            int(alone),
            int(waits or unread),
            self._reader.name if unread else "",
        ]
        if not self._run("give_back", self._keys(claim), arguments):
            raise ClaimLost(claim.ref)

    def unpark(self) -> int:
        """Puts the shards into the queue whose wait is over; returns how many were due."""
        return cast("int", self._run("unpark", [key("parked")], [PREFIX, MAX_UNPARKED]))

    def offer(self, *, looks: bool = False) -> bool:
        """Whether shards wait that this version can read, and that a worker of another version cannot read.

        Args:
            looks: Whether to look for shards that earlier versions have parked, and offer them to all workers that may
                be able to read them. One worker at a time is enough.
        """
        limit = MAX_OFFERED if looks else 0
        return bool(self._run("offer", [key("parked")], [PREFIX, *self._reader, limit]))

    def leases(self) -> Mapping[str, str]:
        """All claimed shards with their lease: a number that grows with every renewal and every claim."""
        with self._redis_client.connection() as redis:
            scores = cast("list[tuple[str, float]]", redis.zrange(key("leases"), 0, -1, withscores=True))
        return {ref: f"{beat:.0f}" for ref, beat in scores}

    def release(self, ref: str, beat: str, *, max_attempts: int) -> bool:
        """Puts a shard with an expired lease back into the queue. The attempt counts.

        Args:
            ref: `{job id}:{shard number}`.
            beat: The lease that has expired.
            max_attempts: The last of so many attempts is made in a lane of its own.

        Returns:
            False, without any change, if the lease was renewed.
        """
        any_fence, counts, alone, waits, read = "", 1, 0, 0, ""
        job_id = ref.rpartition(":")[0]
        keys = [key_of_job(job_id), key_of_shard(ref), key("leases")]
        arguments: list[str | int] = [PREFIX, job_id, ref, any_fence, beat, counts, max_attempts, alone, waits, read]
        return bool(self._run("give_back", keys, arguments))

    def take_over(self, ref: str, beat: str, owner: str) -> Claim | None:
        """Takes a shard with an expired lease from its worker, in order to fail it.

        Args:
            ref: `{job id}:{shard number}`.
            beat: The lease that has expired.
            owner: Name of the process that takes the shard, for logs.

        Returns:
            The claim, or None if the lease was renewed.
        """
        job_id, _, shard = ref.rpartition(":")
        keys = [key_of_job(job_id), key_of_shard(ref), key("leases")]
        fields = cast("list[int] | None", self._run("take_over", keys, [ref, beat, owner]))
        if not fields:
            return None
        fence, attempt, shards = fields
        return Claim(job_id, int(shard), fence, attempt, shards=shards)

    def why_cancelled(self, job_id: str) -> str | None:
        """Why an unfinished job must be cancelled, or None if it was not cancelled."""
        with self._redis_client.connection() as redis:
            return cast("str | None", redis.hget(key_of_job(job_id), "cancel"))

    def attempts(self, ref: str) -> int:
        """How many times a shard was claimed."""
        with self._redis_client.connection() as redis:
            return int(cast("str | None", redis.hget(key_of_shard(ref), "attempt")) or 0)

    def withdraw(self, job_id: str, why: str, owner: str) -> Claim | None:
        """Cancels a job: removes its waiting shards from the queue, and lets workers know at their next renewal.

        Args:
            job_id: The job.
            why: The reason. The first reason is kept if a job is cancelled twice.
            owner: Name of the process that cancels, for logs.

        Returns:
            The claim to finish the job if no worker works on it. Otherwise None: the last worker finishes the job.
        """
        keys = [key_of_job(job_id), key("leases")]
        fields = cast("list[int] | None", self._run("withdraw", keys, [PREFIX, job_id, why, owner]))
        if not fields:
            return None
        shard, fence, attempt = fields
        return Claim(job_id, shard, fence, attempt)

    def announce_end(self, job_id: str) -> None:
        """Counts the files of a job that ended without a claim, and emits the event of its end."""
        self._run("announce_end", [key_of_job(job_id)], [PREFIX, job_id])

    def list_overdue(self, count: int = 100) -> list[str]:
        """Up to `count` unfinished jobs whose deadline has passed."""
        moment = int(self._redis_client.now().timestamp() * 1000)
        with self._redis_client.connection() as redis:
            return cast("list[str]", redis.zrange(key("deadlines"), 0, moment, byscore=True, offset=0, num=count))

    def forget_deadline(self, job_id: str) -> None:
        """Removes the deadline of a job that has finished or no longer exists."""
        with self._redis_client.connection() as redis:
            redis.zrem(key("deadlines"), job_id)

    def _keys(self, claim: Claim) -> list[str]:
        return [key_of_job(claim.job_id), key_of_shard(claim.ref), key("leases")]


def _read_script(name: str) -> str:
    """Source of a script with the parts that it has in common with others."""
    folder = resources.files("shared.queue") / "scripts"
    parts = ["states", "sections", *(["turns"] if name == "claim" else []), name]
    source = "".join((folder / f"{part}.lua").read_text() for part in parts)
    return source if name in NEW_WORK else RUNS_IF_FULL + source


def _describe_renewal(claim: Claim, progress: Progress) -> list[str | int]:
    """The arguments of the script `renew`."""
    return [PREFIX, claim.job_id, claim.ref, claim.fence, progress.done, progress.total, progress.unit]


def _read_renewal(answer: object) -> Renewal:
    return Renewal(is_lost=True) if answer == LOST else Renewal(cancel_reason=str(answer) or None)


def _describe_shards(shards: list[int], ended: Collection[int]) -> Iterator[str | int]:
    """Number of items and state of each shard, as arguments of the script `create`."""
    for number, items in enumerate(shards):
        yield items
        yield "ended" if number in ended else "pending"
