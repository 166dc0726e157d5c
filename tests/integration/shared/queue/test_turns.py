"""Tenants take turns: start-time fair queuing in the script that claims, in a real Redis."""

from collections import Counter
from collections.abc import Callable

import pytest

from archetype.contract.job import State
from benchmarks.queue.fairness import run_redis
from shared.queue.claims import TURN_SECONDS, Claim, Claims
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from tests.support.jobs import make_spec, place


def find_tenant(redis_client: RedisClient, claim: Claim) -> str:
    with redis_client.connection() as redis:
        return str(redis.hget(f"archetype:job:{claim.job_id}", "tenant"))


@pytest.fixture
def claim_tenants(claims: Claims, redis_client: RedisClient) -> Callable[..., list[str]]:
    """Claims a number of shards, and returns their tenants."""

    def claim_all(count: int, **arguments: object) -> list[str]:
        taken = [claims.claim("worker", **arguments) for _ in range(count)]  # type: ignore[arg-type]
        return [find_tenant(redis_client, claim) for claim in taken if claim is not None]

    return claim_all


@pytest.mark.parametrize("priority", ["interactive", "bulk"])
@pytest.mark.parametrize("lane", ["shared", "of its own"])
def test_the_only_job_of_a_tenant_does_not_wait_behind_all_jobs_of_another(
    claims: Claims, claim_tenants: Callable[..., list[str]], lane: str, priority: str
) -> None:
    for number in range(200):
        place(claims, tenant="many", lane="shared" if number % 2 else f"lane {number}", priority=priority)
    assert claim_tenants(5) == ["many"] * 5
    place(claims, tenant="one", lane=lane, priority=priority)
    assert "one" in claim_tenants(2)


def test_a_job_of_many_shards_does_not_delay_another_tenant(
    claims: Claims, claim_tenants: Callable[..., list[str]]
) -> None:
    place(claims, tenant="many", shards=(8,) * 500)
    claim_tenants(5)
    place(claims, tenant="one", shards=(8, 8, 8))
    assert Counter(claim_tenants(6)) == {"many": 3, "one": 3}


def test_tenants_get_workers_in_proportion_to_their_shares(
    redis_client: RedisClient, claim_tenants: Callable[..., list[str]]
) -> None:
    claims = Claims(redis_client, {"large": 3, "small": 0.5})
    for tenant in ("small", "large", "plain"):
        place(claims, tenant=tenant, lane=f"lane of {tenant}", shards=(1,) * 100)
    assert Counter(claim_tenants(90)) == {"large": 60, "plain": 20, "small": 10}


def test_a_tenant_pays_for_the_slots_of_its_shards(claims: Claims, claim_tenants: Callable[..., list[str]]) -> None:
    place(claims, tenant="wide", shards=(8,) * 50)
    place(claims, tenant="narrow", shards=(2,) * 50)
    assert Counter(claim_tenants(50)) == {"wide": 10, "narrow": 40}


def test_a_shard_that_takes_a_worker_for_itself_costs_no_more_than_a_full_shard(
    claims: Claims, claim_tenants: Callable[..., list[str]]
) -> None:
    place(claims, tenant="exclusive", shards=(1,) * 50, weight=1_000_000)
    place(claims, tenant="full", shards=(8,) * 50)
    assert Counter(claim_tenants(20)) == {"exclusive": 10, "full": 10}


def test_a_tenant_that_did_not_wait_has_saved_no_turns(claims: Claims, claim_tenants: Callable[..., list[str]]) -> None:
    place(claims, tenant="steady", shards=(1,) * 100)
    claim_tenants(50)
    place(claims, tenant="late", shards=(1,) * 100)
    served = Counter(claim_tenants(20))
    assert abs(served["steady"] - served["late"]) <= 2


def test_a_tenant_that_queues_one_job_at_a_time_gets_no_more_than_its_share(
    claims: Claims, redis_client: RedisClient
) -> None:
    place(claims, tenant="patient", shards=(1,) * 100)
    served: Counter[str] = Counter()
    place(claims, tenant="drop by drop", shards=(8,))
    for _ in range(45):
        claim = claims.claim("worker")
        assert claim is not None
        tenant = find_tenant(redis_client, claim)
        served[tenant] += claim.size
        if tenant == "drop by drop":  # its queue is empty for a moment, each time
            place(claims, tenant="drop by drop", shards=(8,))
    assert abs(served["patient"] - served["drop by drop"]) <= 8


def test_tenants_of_a_lane_share_a_batch_in_turn(claims: Claims, claim_tenants: Callable[..., list[str]]) -> None:
    for tenant in ("a", "b", "c"):
        place(claims, tenant=tenant, lane="shared", shards=(1,) * 4)
    assert len(claim_tenants(1)) == 1
    batch = claim_tenants(8, lane="shared", room=100)
    assert Counter(batch) in ({"a": 2, "b": 3, "c": 3}, {"a": 3, "b": 2, "c": 3}, {"a": 3, "b": 3, "c": 2})


def test_a_shard_that_joins_a_batch_is_charged_to_its_tenant(
    claims: Claims, claim_tenants: Callable[..., list[str]]
) -> None:
    place(claims, tenant="guest", lane="shared", shards=(1,) * 50)
    place(claims, tenant="host", lane="shared", shards=(1,))
    place(claims, tenant="other", lane="elsewhere", shards=(1,) * 50)
    assert Counter(claim_tenants(2)) == {"guest": 1, "host": 1}
    assert claim_tenants(10, lane="shared", room=100) == ["guest"] * 10
    assert claim_tenants(11) == ["other"] * 11
    assert set(claim_tenants(2)) == {"guest", "other"}


def test_interactive_jobs_of_a_tenant_come_before_bulk_jobs_of_others(
    claims: Claims, claim_tenants: Callable[..., list[str]]
) -> None:
    place(claims, tenant="quiet", priority="bulk")
    place(claims, tenant="busy", shards=(1,) * 20)
    assert claim_tenants(20) == ["busy"] * 20
    assert claim_tenants(1) == ["quiet"]


def wait(redis_client: RedisClient, tenant: str, seconds: float) -> None:
    """The tenant has waited for so long."""
    with redis_client.connection() as redis:
        times = "archetype:turns:interactive:times"
        redis.hset(times, tenant, int(redis.hget(times, tenant) or 0) - int(seconds * 1000))


def test_one_worker_leaves_its_lane_for_a_tenant_that_has_waited(claims: Claims, redis_client: RedisClient) -> None:
    place(claims, tenant="many", lane="popular", shards=(1,) * 50)
    for owner in ("first", "second"):
        assert claims.claim(owner).lane == "popular"
    place(claims, tenant="one", lane="lonely", shards=(1, 1))

    def stays(owner: str, *, leaves: bool = True) -> bool:
        return claims.claim(owner, lane="popular", room=9, leaves=leaves) is not None

    assert stays("first")  # it has not waited yet
    wait(redis_client, "one", TURN_SECONDS + 1)
    assert stays("first", leaves=False)  # it has just come to the lane, and fills its batch
    assert not stays("first")
    assert stays("second")  # one worker is enough
    assert not stays("first")
    assert claims.claim("first").lane == "lonely"
    assert stays("second")  # the tenant was served a moment ago
    wait(redis_client, "one", TURN_SECONDS + 1)
    assert not stays("second")


def test_another_worker_leaves_if_the_first_does_not_come(claims: Claims, redis_client: RedisClient) -> None:
    place(claims, tenant="many", lane="popular", shards=(1,) * 50)
    assert claims.claim("dead").lane == "popular"
    place(claims, tenant="one", lane="lonely")
    claims.claim("dead", lane="popular")
    wait(redis_client, "one", TURN_SECONDS + 1)
    assert claims.claim("dead", lane="popular", leaves=True) is None
    with redis_client.connection() as redis:
        name = "archetype:turns:interactive:leaver:one"
        assert 0 < redis.pttl(name) <= TURN_SECONDS * 10_000
        redis.delete(name)  # its time has passed
    assert claims.claim("alive", lane="popular", leaves=True) is None


def test_a_worker_does_not_leave_its_lane_for_other_lanes_of_the_same_tenant(
    claims: Claims, redis_client: RedisClient
) -> None:
    for lane in ("popular", "lonely"):
        place(claims, tenant="many", lane=lane, shards=(1,) * 5)
    assert claims.claim("worker").lane == "popular"
    wait(redis_client, "many", TURN_SECONDS + 1)
    assert claims.claim("worker", lane="popular", leaves=True).lane == "popular"


def test_the_number_of_commands_of_a_claim_does_not_grow_with_shards_tenants_and_lanes() -> None:
    with run_redis() as redis_client:  # one that runs no commands of others
        claims = Claims(redis_client)

        def count_commands() -> int:
            with redis_client.connection() as redis:
                redis.config_resetstat()
                assert all(claims.claim("worker") for _ in range(20))
                return sum(command["calls"] for command in redis.info("commandstats").values())

        def fill(tenants: int, lanes: int, shards: int) -> None:
            for number in range(tenants * lanes * shards):
                tenant, lane = f"t{number % tenants}", f"lane {number // tenants % lanes}"
                place(claims, tenant=tenant, lane=lane)
            for _ in range(3):
                claims.claim("indexes the new lanes, a hundred at a time")

        fill(3, 2, 10)
        few = count_commands()
        fill(40, 5, 5)
        assert count_commands() <= few + 20  # one more for each claim


def test_nothing_of_a_tenant_is_left_in_the_queue_when_its_jobs_have_ended(
    claims: Claims, redis_client: RedisClient
) -> None:
    for number in range(30):
        place(claims, tenant=f"t{number}", lane=f"lane {number % 3}")
    while claim := claims.claim("worker"):
        job = make_spec().job(claim.job_id).model_copy(update={"state": State.SUCCEEDED})
        claims.finish_job(claim, Manifest(job=job, fence=claim.fence))
    with redis_client.connection() as redis:
        left = {name for pattern in ("lanes", "pending", "turns") for name in redis.scan_iter(f"archetype:{pattern}:*")}
        assert left == {"archetype:turns:interactive:now"}
