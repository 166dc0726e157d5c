"""The order of webhook deliveries, in a real Redis."""

from datetime import timedelta

import pytest

from archetype.contract.job import now
from shared.state import delivery_queue
from shared.state.delivery_queue import LOOKED, TENANTS, DeliveryName, DeliveryQueue
from shared.state.keys import key
from shared.state.queue_depth import read_queue_depth
from shared.state.redis_client import RedisClient
from tests.support.waiting import wait_until


@pytest.fixture
def queue(redis_client: RedisClient) -> DeliveryQueue:
    return DeliveryQueue(redis_client)


def fill(queue: DeliveryQueue, tenant: str, count: int, *, ago: float = 1) -> None:
    for number in range(count):
        queue.schedule(DeliveryName(tenant, f"{number:03}"), now() - timedelta(seconds=ago - number / 1000))


def take(queue: DeliveryQueue, count: int, *excluded: str) -> list[tuple[str, str]]:
    """Takes deliveries, each of which is due again much later."""
    taken = [queue.take(600, excluded) for _ in range(count)]
    return [(name.tenant, name.id) for name in taken if name is not None]


def test_tenants_take_turns_however_many_deliveries_each_has_and_however_old_they_are(queue: DeliveryQueue) -> None:
    fill(queue, "many", 50, ago=3600)
    fill(queue, "few", 2)
    fill(queue, "some", 3)
    assert [tenant for tenant, _ in take(queue, 9)].count("many") == 4
    assert {tenant for tenant, _ in take(queue, 100)} == {"many"}


def test_the_deliveries_of_a_tenant_are_taken_in_the_order_in_which_they_are_due(queue: DeliveryQueue) -> None:
    fill(queue, "t", 5)
    assert take(queue, 10) == [("t", f"00{number}") for number in range(5)]


def test_a_delivery_is_not_taken_before_it_is_due(queue: DeliveryQueue) -> None:
    queue.schedule(DeliveryName("t", "1"), now() + timedelta(seconds=60))
    assert queue.take(600) is None
    queue.schedule(DeliveryName("t", "1"), now(), only_new=True)
    assert queue.take(600) is None
    queue.schedule(DeliveryName("t", "1"), now())
    assert queue.take(600) == ("t", "1")


def test_excluded_tenants_get_no_delivery(queue: DeliveryQueue) -> None:
    fill(queue, "a", 2)
    fill(queue, "b", 2)
    assert {tenant for tenant, _ in take(queue, 4, "a")} == {"b"}
    assert {tenant for tenant, _ in take(queue, 4)} == {"a"}


def test_a_delivery_whose_sender_was_killed_is_taken_again_later_each_time(
    queue: DeliveryQueue, redis_client: RedisClient
) -> None:
    name = DeliveryName("t", "1")
    queue.schedule(name, now())
    reserved = []
    for _ in range(4):
        assert wait_until(lambda: queue.take(0.2), 30) == name
        with redis_client.connection() as redis:
            due, (seconds, microseconds) = redis.zscore(TENANTS, "t"), redis.time()
        reserved.append((due - seconds * 1000 - microseconds / 1000) / 1000)
    assert [round(least) for least in reserved[2:]] == [1, 2]
    queue.schedule(name, now())  # an outcome was recorded
    assert queue.take(0.2) == name
    with redis_client.connection() as redis:
        assert redis.hget(key("outbox:taken"), "t/1") == "1"


def test_a_tenant_has_a_limited_number_of_waiting_deliveries(
    queue: DeliveryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_queue, "MAX_WAITING", 2)
    answers = [queue.schedule(DeliveryName("t", str(number)), now()) for number in range(3)]
    assert answers == [True, True, False]
    assert queue.schedule(DeliveryName("t", "0"), now())
    assert queue.schedule(DeliveryName("other", "0"), now())
    queue.forget(DeliveryName("t", "0"))
    assert queue.schedule(DeliveryName("t", "2"), now())


def test_a_forgotten_delivery_leaves_nothing_behind(queue: DeliveryQueue, redis_client: RedisClient) -> None:
    fill(queue, "t", 1)
    take(queue, 1)
    queue.forget(DeliveryName("t", "000"))
    queue.forget(DeliveryName("t", "never there"))
    with redis_client.connection() as redis:
        assert redis.keys(key("outbox*")) == [LOOKED]


def test_deliveries_that_an_earlier_version_has_queued_are_taken(
    queue: DeliveryQueue, redis_client: RedisClient
) -> None:
    with redis_client.connection() as redis:
        redis.zadd(key("outbox"), {"t/1": 1000, "t/2": 4e12, "malformed": 1000})
    assert queue.take(600) == ("t", "1")
    assert queue.take(600) is None
    with redis_client.connection() as redis:
        assert redis.zcard(key("outbox")) == 0
        assert redis.zscore(key("outbox:due:t"), "2") == 4e12


def test_the_deliveries_that_redis_does_not_know_are_found(queue: DeliveryQueue) -> None:
    fill(queue, "t", 2)
    assert queue.find_unknown("t", ["000", "new", "001"]) == ["new"]


def test_a_webhook_is_overdue_while_no_sender_looks_for_it(queue: DeliveryQueue, redis_client: RedisClient) -> None:
    assert read_queue_depth(redis_client).overdue == 0
    fill(queue, "t", 1, ago=3600)
    assert 3500 < read_queue_depth(redis_client).overdue < 3700
    assert queue.take(600, ["t"]) is None  # a sender runs, and the tenant is at its limit
    assert read_queue_depth(redis_client).overdue < 300
