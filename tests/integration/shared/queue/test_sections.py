"""Shards that not every version can read wait apart, so that a worker never gets what it cannot read twice in a row."""

import time

import pytest
import redis

from shared.queue.claims import TURN_SECONDS, Claims
from shared.queue.reader import Reader
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.state.queue_depth import read_queue_depth
from shared.state.redis_client import RedisClient
from shared.storage.documents import JobSpec
from tests.support.jobs import make_spec, place
from tests.support.waiting import wait_until


@pytest.fixture
def connection(settings: Settings) -> redis.Redis:
    return redis.Redis.from_url(settings.redis_url, decode_responses=True, socket_timeout=60)


@pytest.fixture
def older(redis_client: RedisClient) -> Claims:
    return Claims(redis_client, reader=Reader("older", 3))


@pytest.fixture
def newer(redis_client: RedisClient) -> Claims:
    return Claims(redis_client, reader=Reader("newer", 4))


def place_newer(claims: Claims, **changes: object) -> str:
    """Queues a job whose request has a format that only the newer version reads."""
    spec: JobSpec = make_spec(**changes).model_copy(update={"format": 4})  # type: ignore[arg-type]
    job_id = new_job_id()
    claims.create(job_id, spec)
    return job_id


def fail_to_read(claims: Claims) -> str:
    claim = claims.claim("cannot read it")
    assert claim is not None
    claims.give_back(claim, counts=False, max_attempts=3, unread=True)
    return claim.job_id


def claim_id(claims: Claims, **arguments: object) -> str | None:
    claim = claims.claim("worker", **arguments)  # type: ignore[arg-type]
    return None if claim is None else claim.job_id


def park_as_an_earlier_version(claims: Claims, connection: redis.Redis) -> str:
    """Parks a shard without the field with which this version marks it."""
    claim = claims.claim("earlier")
    assert claim is not None
    claims.give_back(claim, counts=False, max_attempts=3, waits=True)
    connection.hdel(f"archetype:share:{claim.ref}", "noted")
    return claim.job_id


@pytest.mark.parametrize("priority", ["interactive", "bulk"])
def test_only_workers_that_read_its_format_claim_a_shard(older: Claims, newer: Claims, priority: str) -> None:
    job_id = place_newer(newer, priority=priority)
    plain = [place(newer, priority=priority).id for _ in range(2)]
    assert [claim_id(older), claim_id(older), claim_id(older)] == [*plain, None]
    assert (older.offer(), newer.offer()) == (False, True)
    assert claim_id(newer) == job_id
    assert not newer.offer()


def test_a_shard_that_one_version_could_not_read_is_claimed_at_once_by_another_and_not_by_the_same(
    older: Claims, newer: Claims
) -> None:
    job_id = place(older).id
    assert fail_to_read(older) == job_id
    assert (claim_id(older), older.offer()) == (None, False)
    assert newer.offer()
    claim = newer.claim("newer")
    assert (claim.job_id, claim.attempt) == (job_id, 1)


def test_a_shard_is_offered_to_every_version_once(redis_client: RedisClient, older: Claims, newer: Claims) -> None:
    job_id = place(older).id
    fail_to_read(older)
    assert fail_to_read(newer) == job_id
    assert (claim_id(older), claim_id(newer)) == (None, None)
    newest = Claims(redis_client, reader=Reader("newest", 3))
    assert claim_id(newest) == job_id


def test_the_same_version_tries_again_when_the_wait_is_over(older: Claims, connection: redis.Redis) -> None:
    job_id = place(older).id
    fail_to_read(older)
    assert older.unpark() == 0
    connection.zadd("archetype:parked", {f"{job_id}:0": 0})
    assert older.unpark() == 1
    assert claim_id(older) == job_id


def test_after_the_wait_a_shard_keeps_its_format(older: Claims, newer: Claims, connection: redis.Redis) -> None:
    job_id = place_newer(newer)
    fail_to_read(newer)
    connection.zadd("archetype:parked", {f"{job_id}:0": 0})
    newer.unpark()
    assert (claim_id(older), claim_id(newer)) == (None, job_id)


def test_a_shard_that_an_earlier_version_parked_is_offered_to_this_version_at_once(
    older: Claims, connection: redis.Redis
) -> None:
    place(older)
    job_id = park_as_an_earlier_version(older, connection)
    assert claim_id(older) is None
    assert older.offer(looks=True)
    claim = older.claim("me")
    assert claim.job_id == job_id
    assert connection.zcard("archetype:parked") == 0
    older.give_back(claim, counts=False, max_attempts=3)  # an earlier version may claim it again
    assert connection.zrange("archetype:lanes:interactive", 0, -1) != []
    assert claim_id(older) == job_id


def test_a_shard_that_this_version_parked_because_of_the_store_is_not_offered(older: Claims, newer: Claims) -> None:
    place(older)
    claim = older.claim("me")
    older.give_back(claim, counts=False, max_attempts=3, waits=True)
    assert not newer.offer(looks=True)
    assert claim_id(newer) is None


def test_a_shard_that_an_earlier_sweep_put_into_the_common_queue_is_not_handed_out_to_the_same_version(
    older: Claims, newer: Claims, connection: redis.Redis
) -> None:
    job_id = place(older).id
    fail_to_read(older)
    lane = connection.hget(f"archetype:share:{job_id}:0", "lane")
    connection.zrem("archetype:parked", f"{job_id}:0")  # what the script `unpark` of an earlier version does
    connection.zadd(f"archetype:pending:interactive:{lane}", {f"{job_id}:0": 1})
    connection.zadd("archetype:lanes:interactive", {lane: connection.incr("archetype:served")})
    assert claim_id(older) is None
    assert connection.zcard("archetype:parked") == 1
    assert claim_id(newer) == job_id
    assert claim_id(newer) is None


def test_newer_and_other_shards_take_turns_in_a_worker_that_reads_both(older: Claims, newer: Claims) -> None:
    for _ in range(4):
        place_newer(newer)
    plain = {place(newer).id for _ in range(4)}
    taken = [claim_id(newer) in plain for _ in range(8)]
    assert taken in ([True, False] * 4, [False, True] * 4)


def test_newer_shards_of_a_lane_join_its_batch(newer: Claims) -> None:
    job_ids = {place(newer, lane="a").id, place_newer(newer, lane="a"), place_newer(newer, lane="a")}
    taken = {claim_id(newer), *(claim_id(newer, lane="a", room=9) for _ in range(2))}
    assert taken == job_ids
    place_newer(newer, lane="elsewhere")
    assert claim_id(newer, lane="a", room=9) is None


def test_a_worker_leaves_its_lane_for_a_newer_shard(newer: Claims, connection: redis.Redis) -> None:
    place(newer, lane="a", shards=(1,) * 9)
    assert claim_id(newer)
    job_id = place_newer(newer, lane="elsewhere")
    assert claim_id(newer, lane="a", room=9, leaves=True) is not None
    queue = "archetype:turns:interactive@4-"
    connection.hset(f"{queue}:times", "default", int((time.time() - 2 * TURN_SECONDS) * 1000))
    assert claim_id(newer, lane="a", room=9, leaves=True) is None
    taken = [claim_id(newer), claim_id(newer)]
    assert job_id in taken


def test_a_bulk_shard_of_a_newer_format_is_not_delayed_for_ever(newer: Claims, connection: redis.Redis) -> None:
    job_id = place_newer(newer, priority="bulk")
    lane = connection.hget(f"archetype:share:{job_id}:0", "lane")
    connection.zadd(f"archetype:pending:bulk@4-:{lane}", {f"{job_id}:0": (time.time() - 601) * 1000})
    for _ in range(4):
        place(newer)
    assert job_id in [claim_id(newer), claim_id(newer)]


def test_shards_that_wait_apart_count_as_waiting(redis_client: RedisClient, older: Claims, newer: Claims) -> None:
    place(older)
    fail_to_read(older)
    place_newer(newer, priority="bulk")
    assert read_queue_depth(redis_client).queued == 2
    wait_until(lambda: min(read_queue_depth(redis_client).oldest.values()) > 0, 5)


def test_a_job_that_waits_apart_can_be_cancelled(older: Claims, newer: Claims, connection: redis.Redis) -> None:
    parked, newer_format = place(older).id, place_newer(newer)
    fail_to_read(older)
    for job_id in (parked, newer_format):
        assert newer.withdraw(job_id, "asked", "api") is not None
    assert (claim_id(newer), newer.offer()) == (None, False)
    assert connection.zcard("archetype:parked") == 0


def test_a_newer_job_that_waits_for_others_is_claimed_only_by_readers_of_its_format(
    older: Claims, newer: Claims
) -> None:
    spec = make_spec().model_copy(update={"format": 4, "after": ["another"]})
    newer.create(job_id := new_job_id(), spec)
    assert claim_id(newer) is None
    newer.unblock(job_id)
    assert (claim_id(older), claim_id(newer)) == (None, job_id)


def test_empty_sections_leave_nothing_behind(older: Claims, newer: Claims, connection: redis.Redis) -> None:
    place(older)
    fail_to_read(older)
    place_newer(newer, priority="bulk")
    while newer.claim("worker"):
        pass
    assert not newer.offer()
    assert [*connection.scan_iter("archetype:*interactive@*"), *connection.scan_iter("archetype:*bulk@*")] == []
    assert connection.exists("archetype:turns:sections") == 0
