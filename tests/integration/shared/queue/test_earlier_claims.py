"""Processes of this version and of the one before tenants took turns share one queue, during and after an upgrade."""

import random
from collections import Counter

from shared.queue.claims import Claim, Claims
from shared.state.job_ids import new_job_id
from shared.state.redis_client import RedisClient
from tests.support.earlier_claims import EarlierClaims
from tests.support.jobs import make_spec, place


def find_tenant(redis_client: RedisClient, claim: Claim) -> str:
    with redis_client.connection() as redis:
        return str(redis.hget(f"archetype:job:{claim.job_id}", "tenant"))


def test_shards_that_an_earlier_version_queued_are_claimed_by_tenants_in_turn(
    claims: Claims, redis_client: RedisClient
) -> None:
    earlier = EarlierClaims(redis_client)
    for _ in range(40):
        earlier.place(tenant="many", lane="shared", shards=(1,) * 5)
    earlier.place(tenant="one", lane="shared", shards=(1,) * 3)
    earlier.place(tenant="other", lane="elsewhere", shards=(1,) * 3)
    taken: list[Claim] = []
    while claim := claims.claim("new"):
        taken.append(claim)
    assert len({claim.ref for claim in taken}) == 206
    assert {claim.lane for claim in taken} == {"shared", "elsewhere"}
    tenants = [find_tenant(redis_client, claim) for claim in taken]
    assert len(tenants) - tenants[::-1].index("other") <= 10
    # A claim moves a hundred shards into the lanes of their tenants, so that a lane of 203 has been moved at the third.
    assert len(tenants) - tenants[::-1].index("one") <= 10
    assert not claims.is_waiting()


def test_a_worker_fills_its_batch_with_shards_that_an_earlier_version_queued(
    claims: Claims, redis_client: RedisClient
) -> None:
    earlier = EarlierClaims(redis_client)
    earlier.place(tenant="a", lane="shared", shards=(1, 1))
    place(claims, tenant="b", lane="shared", shards=(1, 1))
    assert claims.claim("new").lane == "shared"
    batch = [claims.claim("new", lane="shared", room=9) for _ in range(4)]
    assert [claim is not None for claim in batch] == [True, True, True, False]


def test_a_worker_of_the_earlier_version_claims_what_this_version_queues(
    claims: Claims, redis_client: RedisClient
) -> None:
    earlier = EarlierClaims(redis_client)
    for tenant in ("a", "b"):
        place(claims, tenant=tenant, lane="shared", shards=(1, 1, 1))
    first = earlier.claim()
    assert first is not None
    assert earlier.claim(first.lane) is not None
    claims.claim("new")
    taken = [earlier.claim() for _ in range(4)]
    assert [claim is not None for claim in taken] == [True, True, True, False]
    assert not claims.is_waiting()


def test_a_blocked_job_of_the_earlier_version_is_claimed_after_either_version_unblocks_it(
    claims: Claims, redis_client: RedisClient
) -> None:
    earlier = EarlierClaims(redis_client)
    ids = [new_job_id() for _ in range(4)]
    for number, job_id in enumerate(ids):
        spec = make_spec(lane=f"lane {number}").model_copy(update={"after": [new_job_id()]})
        (earlier.create if number % 2 else claims.create)(job_id, spec)
    assert claims.claim("new") is None
    for number, job_id in enumerate(ids):
        (earlier.unblock if number < 2 else claims.unblock)(job_id)
    assert {claims.claim("new").job_id for _ in range(4)} == set(ids)


def test_a_job_of_either_version_can_be_cancelled_by_the_other(claims: Claims, redis_client: RedisClient) -> None:
    earlier = EarlierClaims(redis_client)
    old, new = earlier.place(tenant="a", lane="shared"), place(claims, tenant="b", lane="shared").id
    last = place(claims, tenant="c", lane="shared").id
    earlier.withdraw(new)
    assert claims.withdraw(old, "asked", "api") is not None
    assert claims.claim("new").job_id == last
    assert claims.claim("new") is None
    assert not claims.is_waiting()


def test_a_job_of_the_earlier_version_can_be_cancelled_after_its_shards_were_moved(
    claims: Claims, redis_client: RedisClient
) -> None:
    job_id = EarlierClaims(redis_client).place(tenant="a", lane="shared", shards=(1, 1))
    first = claims.claim("new")
    claims.give_back(first, counts=False, max_attempts=3)
    assert claims.withdraw(job_id, "asked", "api") is not None
    assert claims.claim("new") is None
    assert not claims.is_waiting()


def test_two_versions_together_claim_every_shard_once_and_lose_none(claims: Claims, redis_client: RedisClient) -> None:
    earlier, choose = EarlierClaims(redis_client), random.Random(3)
    queued = 0
    held: list[tuple[Claim, bool]] = []
    ended: Counter[str] = Counter()
    for _ in range(3000):
        is_earlier, action = choose.random() < 0.5, choose.random()
        changes = {
            "tenant": choose.choice("abcdef"),
            "lane": choose.choice("xyz"),
            "shards": (1,) * choose.randint(1, 4),
        }
        if action < 0.2 and queued < 900:
            changes["priority"] = choose.choice(["interactive", "bulk"])
            queued += len(changes["shards"])
            earlier.place(**changes) if is_earlier else place(claims, **changes)
        elif action < 0.75:
            lane = choose.choice(["", "x", "y"])
            claim = earlier.claim(lane) if is_earlier else claims.claim("new", lane=lane)
            held += [(claim, is_earlier)] if claim is not None else []
        elif held:
            claim, was_earlier = held.pop(choose.randrange(len(held)))
            if choose.random() < 0.5:
                ended[claim.ref] += 1
            elif was_earlier:
                earlier.give_back(claim)
            else:
                claims.give_back(claim, counts=False, max_attempts=3)
    ended.update(claim.ref for claim, _ in held)
    while claim := claims.claim("new"):
        ended[claim.ref] += 1
    assert len(ended) == queued
    assert set(ended.values()) == {1}
    assert not claims.is_waiting()
