"""What waits in Redis and for how long, in a few calls, however much it is."""

import time
from dataclasses import dataclass
from typing import Any, cast

from ulid import ULID

from shared.jobs import State
from shared.records import Records, key, key_of_job, key_of_state

PRIORITIES = ("interactive", "bulk")
LOOKED = 200
"""Shares at the head of a lane."""


@dataclass(frozen=True)
class Backlog:
    """How things stand.

    Attributes:
        queued: Shares that wait for a worker.
        running: Shares that a worker holds.
        oldest: By priority, how many seconds ago the oldest job was accepted that nobody has begun to work on; 0 where
            there is none. Of each lane the first shares are looked at.
        unfinished: By state, how many seconds ago the oldest job that is in it was accepted.
        late: For how many seconds a job has been past its deadline, and has not ended.
        overdue: For how many seconds a webhook has been due that nobody has tried to deliver.
    """

    queued: int
    running: int
    oldest: dict[str, float]
    unfinished: dict[str, float]
    late: float
    overdue: float


def read_backlog(records: Records) -> Backlog:
    """Its cost grows with the number of lanes, not of shares. Raises `Unavailable`."""
    with records.connection() as redis, redis.pipeline(transaction=False) as pipe:
        for priority in PRIORITIES:
            pipe.zrange(key(f"lanes:{priority}"), 0, -1)
        lanes = dict(zip(PRIORITIES, cast("list[list[str]]", pipe.execute()), strict=True))
        pending = [(rank, key(f"pending:{rank}:{lane}")) for rank in PRIORITIES for lane in lanes[rank]]
        for _, name in pending:
            pipe.zcard(name)
            pipe.zrange(name, 0, LOOKED - 1, withscores=True)
        pipe.zcard(key("leases"))
        pipe.zrange(key("deadlines"), 0, 0, withscores=True)
        pipe.zrange(key("outbox"), 0, 0, withscores=True)
        for state in (State.QUEUED, State.RUNNING):
            pipe.zrange(key_of_state(state), 0, 0)
        *of_lanes, running, deadline, due, queued, worked = pipe.execute()
    counts, firsts = of_lanes[::2], of_lanes[1::2]
    oldest = dict.fromkeys(PRIORITIES, 0.0)
    for (rank, _), shares in zip(pending, firsts, strict=True):
        oldest[rank] = max(oldest[rank], _age(_find_unbegun(shares, records)))
    return Backlog(
        queued=sum(counts), running=running, oldest=oldest, late=_age(deadline), overdue=_age(due),
        unfinished={State.QUEUED: _age_of_job(queued), State.RUNNING: _age_of_job(worked)},
    )  # fmt: skip


def _find_unbegun(shares: list[tuple[str, float]], records: Records) -> list[tuple[str, float]]:
    """The first share of a job that is still queued: of one that runs, the others are no cause for worry."""
    jobs = list(dict.fromkeys(ref.rpartition(":")[0] for ref, _ in shares))
    with records.connection() as redis, redis.pipeline(transaction=False) as pipe:
        for job_id in jobs:
            pipe.hget(key_of_job(job_id), "state")
        queued = {job_id for job_id, state in zip(jobs, pipe.execute(), strict=True) if state == State.QUEUED}
    return [(ref, since) for ref, since in shares if ref.rpartition(":")[0] in queued][:1]


def _age(first: list[tuple[str, float]]) -> float:
    """Seconds since the moment in ms that is the score of the first of a sorted set; 0 where there is none."""
    return max(0.0, time.time() - first[0][1] / 1000) if first else 0.0


def _age_of_job(first: list[Any]) -> float:
    return max(0.0, time.time() - ULID.from_str(first[0].upper()).timestamp) if first else 0.0
