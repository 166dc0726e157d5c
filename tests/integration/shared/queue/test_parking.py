"""Parked shards: they wait for a while, longer each time, and lose neither their place nor their job."""

import time

import pytest
import redis

from archetype.contract.job import State
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.storage.documents import Manifest
from tests.support.jobs import place

PARKED = "archetype:parked"


@pytest.fixture
def connection(settings: Settings) -> redis.Redis:
    return redis.Redis.from_url(settings.redis_url, decode_responses=True, socket_timeout=60)


def park(claims: Claims) -> None:
    claim = claims.claim("me")
    assert claim is not None
    claims.give_back(claim, counts=False, max_attempts=3, waits=True)


def end_waits(claims: Claims, connection: redis.Redis) -> int:
    for ref in connection.zrange(PARKED, 0, -1):
        connection.zadd(PARKED, {ref: 0})
    return claims.unpark()


def test_a_parked_shard_delays_no_other_and_returns_to_its_place(
    claims: Claims, job_index: JobIndex, connection: redis.Redis
) -> None:
    first, second = place(claims), place(claims)
    park(claims)
    claim = claims.claim("me")
    assert claim is not None
    assert claim.job_id == second.id
    claims.give_back(claim, counts=False, max_attempts=3)
    connection.zadd(PARKED, {f"{first.id}:0": (time.time() + 50) * 1000})
    assert claims.unpark() == 0
    assert job_index.find(first.id).state is State.QUEUED
    assert end_waits(claims, connection) == 1
    again = claims.claim("me")
    assert again is not None
    assert (again.job_id, again.attempt, again.resumes) == (first.id, 1, True)


def test_a_shard_waits_longer_each_time_but_not_longer_than_a_minute(claims: Claims, connection: redis.Redis) -> None:
    job = place(claims)
    waits = []
    for _ in range(9):
        before = time.time()
        park(claims)
        after = time.time()
        due = connection.zscore(PARKED, f"{job.id}:0") / 1000
        waits.append((due - after - 0.1, due - before + 0.1))
        end_waits(claims, connection)
    for (least, most), expected in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert least <= expected <= most


def test_a_shard_that_was_parked_before_the_clock_of_redis_was_set_back_does_not_wait_for_it(
    claims: Claims, connection: redis.Redis
) -> None:
    job = place(claims)
    park(claims)
    connection.zadd(PARKED, {f"{job.id}:0": (time.time() + 3600) * 1000})
    assert claims.unpark() == 1
    assert claims.claim("me") is not None


def test_a_shard_that_did_well_for_minutes_waits_for_a_second_again(claims: Claims, connection: redis.Redis) -> None:
    job = place(claims)
    for _ in range(5):
        park(claims)
        end_waits(claims, connection)
    connection.hset(f"archetype:share:{job.id}:0", "parked", int((time.time() - 301) * 1000))
    park(claims)
    assert connection.hget(f"archetype:share:{job.id}:0", "pauses") == "1"


def test_a_parked_job_can_be_cancelled_and_does_not_return(
    claims: Claims, job_index: JobIndex, connection: redis.Redis
) -> None:
    job = place(claims)
    park(claims)
    claim = claims.withdraw(job.id, "asked", "api")
    assert claim is not None
    assert connection.zcard(PARKED) == 0
    cancelled = job_index.find(job.id).model_copy(update={"state": State.CANCELLED})
    claims.finish_job(claim, Manifest(job=cancelled, fence=claim.fence))
    connection.zadd(PARKED, {f"{job.id}:0": 0})
    claims.unpark()
    assert not claims.is_waiting()
    assert connection.zcard(PARKED) == 0
