"""How much waits in the queue, by lane and tenant."""

import time

import pytest

from shared.queue.claims import Claims
from shared.state.queue_depth import count_ahead, read_lanes, read_queue_depth
from shared.state.redis_client import RedisClient
from tests.support.jobs import place


@pytest.fixture
def claims(redis_client: RedisClient) -> Claims:
    return Claims(redis_client)


def test_lanes_are_listed_by_tenant_and_priority_the_longest_waiting_first(
    redis_client: RedisClient, claims: Claims
) -> None:
    assert read_lanes(redis_client) == []
    place(claims, lane="a@1/class_model", tenant="early", shards=(1, 1, 1))
    time.sleep(0.02)
    place(claims, lane="a@1/class_model", tenant="late", priority="bulk")
    first, second = read_lanes(redis_client)
    assert first[:4] == ("interactive", "early", "a@1/class_model", 3)
    assert second[:4] == ("bulk", "late", "a@1/class_model", 1)
    assert first.seconds > second.seconds >= 0
    assert read_queue_depth(redis_client).queued == 4


def test_a_job_knows_how_many_shards_of_its_tenant_come_first(redis_client: RedisClient, claims: Claims) -> None:
    first, second, elsewhere = (
        place(claims, lane=lane, tenant=tenant, shards=(1, 1))
        for lane, tenant in (("a@1/x", "one"), ("a@1/x", "one"), ("a@1/x", "two"))
    )
    assert [count_ahead(redis_client, job.id, "interactive") for job in (first, second, elsewhere)] == [0, 2, 0]
    claims.claim("worker")
    assert count_ahead(redis_client, second.id, "interactive") in (1, 2)
    assert count_ahead(redis_client, "0" * 26, "interactive") is None
