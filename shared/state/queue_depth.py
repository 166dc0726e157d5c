"""How much waits in Redis and for how long. The cost grows with the number of lanes, not with that of shards."""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from archetype.contract.job import State
from shared.state.delivery_queue import LOOKED, TENANTS
from shared.state.job_ids import created_at
from shared.state.keys import key, key_of_job, key_of_shard, key_of_state
from shared.state.redis_client import RedisClient

PRIORITIES = ("interactive", "bulk")

MAX_READ_SHARDS = 200
"""Shards at the head of each lane that are read to find the oldest queued job."""

SECTIONS = key("turns:sections")
"""Key of the sections of the queue (`shared/queue/reader.py`) in which shards wait."""


@dataclass(frozen=True)
class QueueDepth:
    """Numbers and ages of what waits. All ages are 0 if nothing waits.

    Attributes:
        queued: Shards that wait for a worker.
        running: Claimed shards.
        oldest: By priority, age in seconds of the oldest job of which no shard was claimed. Only the first shards of
            each lane are read.
        unfinished: By state, age in seconds of the oldest job in this state.
        late: Seconds since the oldest deadline of an unfinished job has passed.
        overdue: Seconds for which a webhook has been due while no sender has looked for it. A tenant's webhooks that
            wait for the tenant's other webhooks do not count.
    """

    queued: int
    running: int
    oldest: dict[str, float]
    unfinished: dict[str, float]
    late: float
    overdue: float


class WaitingLane(NamedTuple):
    """A lane of a tenant in which shards wait.

    Attributes:
        priority: The priority of its jobs.
        tenant: The tenant; empty for a lane of an earlier version, which has shards of several.
        name: The lane.
        waiting: Number of shards that wait.
        seconds: How long the first of them has waited.
    """

    priority: str
    tenant: str
    name: str
    waiting: int
    seconds: float


def read_lanes(redis_client: RedisClient, most: int = 200) -> list[WaitingLane]:
    """Reads the lanes of the queue in which shards wait, those that wait longest first. Raises `Unavailable`.

    Args:
        redis_client: The connection.
        most: Number of lanes that are read of each priority, in the order of their turns.
    """
    moment = redis_client.now().timestamp()
    with redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
        queues = _list_queues(cast("set[str]", redis.smembers(SECTIONS)))
        for queue in queues:
            pipe.zrange(key(f"lanes:{queue}"), 0, most - 1)
        found = [(queue, name) for queue, names in zip(queues, pipe.execute(), strict=True) for name in names]
        for queue, name in found:
            pipe.zcard(key(f"pending:{queue}:{name}"))
            pipe.zrange(key(f"pending:{queue}:{name}"), 0, 0, withscores=True)
        answers = pipe.execute()
    lanes = [
        WaitingLane(queue.partition("@")[0], tenant, lane, count, _age(head, moment))
        for (queue, name), count, head in zip(found, answers[::2], answers[1::2], strict=True)
        for lane, _, tenant in [name.partition("/~")]
    ]
    return sorted(lanes, key=lambda lane: -lane.seconds)


def count_ahead(redis_client: RedisClient, job_id: str, priority: str) -> int | None:
    """Number of shards of the tenant's lane that are claimed before the first shard of a job. Raises `Unavailable`.

    Returns:
        None if the first shard does not wait in the lane.
    """
    first = f"{job_id}:0"
    with redis_client.connection() as redis:
        lane = cast("str | None", redis.hget(key_of_shard(first), "lane"))
        return None if lane is None else cast("int | None", redis.zrank(key(f"pending:{priority}:{lane}"), first))


def read_queue_depth(redis_client: RedisClient) -> QueueDepth:
    """Reads the depth of the queue. Raises `Unavailable`."""
    moment = redis_client.now().timestamp()
    with redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
        queues = _list_queues(cast("set[str]", redis.smembers(SECTIONS)))
        for queue in queues:
            pipe.zrange(key(f"lanes:{queue}"), 0, -1)
        lanes = zip(queues, cast("list[list[str]]", pipe.execute()), strict=True)
        pending = [(queue, key(f"pending:{queue}:{lane}")) for queue, names in lanes for lane in names]
        for _, name in pending:
            pipe.zcard(name)
            pipe.zrange(name, 0, MAX_READ_SHARDS - 1, withscores=True)
        pipe.zcard(key("leases"))
        pipe.zrange(key("deadlines"), 0, 0, withscores=True)
        pipe.zrange(TENANTS, 0, 0, withscores=True)
        pipe.get(LOOKED)
        pipe.zrange(key_of_state(State.QUEUED), 0, 0)
        pipe.zrange(key_of_state(State.RUNNING), 0, 0)
        *of_lanes, leases, deadline, webhook, looked, oldest_queued, oldest_running = pipe.execute()
    counts, heads = of_lanes[::2], of_lanes[1::2]
    oldest = dict.fromkeys(PRIORITIES, 0.0)
    for (queue, _), shards in zip(pending, heads, strict=True):
        priority = queue.partition("@")[0]
        oldest[priority] = max(oldest[priority], _age(_find_queued(shards, redis_client), moment))
    return QueueDepth(
        queued=sum(counts),
        running=leases,
        oldest=oldest,
        unfinished={
            State.QUEUED: _age_of_job(oldest_queued, moment),
            State.RUNNING: _age_of_job(oldest_running, moment),
        },
        late=_age(deadline, moment),
        overdue=min(_age(webhook, moment), _age([("", float(looked or 0))], moment)),
    )


def _list_queues(sections: set[str]) -> list[str]:
    """The names of the queues of all shards: those of the priorities, and of the sections that not all workers read."""
    return [*PRIORITIES, *(f"{priority}@{section}" for section in sections for priority in PRIORITIES)]


def _find_queued(shards: list[tuple[str, float]], redis_client: RedisClient) -> list[tuple[str, float]]:
    """The first shard of a job that is still queued. Waiting shards of running jobs are not a reason for an alert."""
    jobs = list(dict.fromkeys(ref.rpartition(":")[0] for ref, _ in shards))
    with redis_client.connection() as redis, redis.pipeline(transaction=False) as pipe:
        for job_id in jobs:
            pipe.hget(key_of_job(job_id), "state")
        queued = {job_id for job_id, state in zip(jobs, pipe.execute(), strict=True) if state == State.QUEUED}
    return [(ref, since) for ref, since in shards if ref.rpartition(":")[0] in queued][:1]


def _age(entries: list[tuple[str, float]], moment: float) -> float:
    """Seconds at a moment since the score, a time in ms, of the first entry of a sorted set; 0 if there is none."""
    return max(0.0, moment - entries[0][1] / 1000) if entries else 0.0


def _age_of_job(job_ids: list[Any], moment: float) -> float:
    """Seconds at a moment since the first of these jobs was created; 0 if there is none."""
    return max(0.0, moment - created_at(job_ids[0]).timestamp()) if job_ids else 0.0
