"""The outbox in a real store and a real Redis: limits of a tenant, and messages that cannot be read."""

from typing import Any

import pytest

from archetype.contract.job import now
from shared.errors import LimitReached
from shared.state import delivery_queue
from shared.state.delivery_queue import DeliveryName
from shared.state.job_ids import new_job_id
from shared.state.redis_client import RedisClient
from shared.storage import layout
from shared.storage.outbox import Outbox, StoredDelivery
from shared.storage.s3 import Bucket

TENANT = "outbox-test"


@pytest.fixture
def outbox(redis_client: RedisClient, bucket: Bucket) -> Outbox:
    for prefix in (layout.OUTBOX, "deliveries/"):
        for place in list(bucket.keys(prefix)):
            bucket.delete(place)
    return Outbox(redis_client, bucket)


def make_delivery(**changes: Any) -> StoredDelivery:
    moment = now()
    fields = {"id": new_job_id(), "tenant": TENANT, "url": "https://a.example/", "event": "job.failed", "data": {}}
    return StoredDelivery(**fields | {"created_at": moment, "begun_at": moment} | changes)


def test_messages_above_the_limit_of_a_tenant_are_given_up_with_the_reason(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_queue, "MAX_WAITING", 2)
    deliveries = [make_delivery() for _ in range(3)]
    for delivery in deliveries:
        outbox.put(delivery)
        outbox.schedule(delivery, now())
    other = make_delivery(tenant="another")
    outbox.put(other)
    outbox.schedule(other, now())
    found = [outbox.find(delivery.tenant, delivery.id) for delivery in (*deliveries, other)]
    assert [each and each.state for each in found] == ["waiting", "waiting", "given_up", "waiting"]
    assert found[2] is not None
    assert "messages of the tenant wait" in (found[2].tries[0].error or "")
    assert outbox.list(TENANT, 10)[0].id == deliveries[2].id
    with pytest.raises(LimitReached):
        outbox.replay(found[2])


def test_the_limit_also_holds_when_redis_has_lost_its_data(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_queue, "MAX_WAITING", 2)
    deliveries = [make_delivery() for _ in range(5)]
    for delivery in deliveries:
        outbox.put(delivery)
    outbox.reconcile()
    states = [found.state for delivery in deliveries if (found := outbox.find(TENANT, delivery.id))]
    assert sorted(states) == ["given_up"] * 3 + ["waiting"] * 2


def test_all_pages_of_pending_messages_are_reconciled(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.storage.outbox.RECONCILED_AT_ONCE", 2)
    for tenant, count in (("a", 5), ("b", 1), ("c", 4)):
        for _ in range(count):
            outbox.put(make_delivery(tenant=tenant))
    outbox.reconcile()
    taken = [name.tenant for _ in range(20) if (name := outbox.take_due(600))]
    assert sorted(taken) == ["a"] * 5 + ["b"] + ["c"] * 4


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b'{"id": "x"}',
        make_delivery(id="another").model_dump_json().encode(),
        make_delivery(tenant="another").model_dump_json().encode(),
        make_delivery().model_dump_json().replace("Z", "").encode(),  # times without a zone
    ],
)
def test_a_message_that_cannot_be_read_is_given_up_and_does_not_stop_the_others(
    outbox: Outbox, bucket: Bucket, content: bytes
) -> None:
    broken, good = DeliveryName(TENANT, new_job_id()), make_delivery()
    bucket.put(layout.outbox_entry(*broken), content, media_type="application/json")
    outbox.put(good)
    outbox.reconcile()
    names = [name for _ in range(3) if (name := outbox.take_due(600))]
    assert sorted(names) == sorted([broken, (good.tenant, good.id)])
    assert [loaded for name in names if (loaded := outbox.load(name))] == [good]
    found = outbox.find(*broken)
    assert found is not None
    assert (found.state, "cannot be read" in (found.tries[0].error or "")) == ("given_up", True)
    assert list(bucket.keys(layout.outbox_entry(*broken))) == []


def test_a_log_that_cannot_be_read_does_not_stop_the_list(outbox: Outbox, bucket: Bucket) -> None:
    good, broken = make_delivery(), new_job_id()
    outbox.record_attempt(good)
    outbox.record_attempt(make_delivery(id=broken))
    bucket.put(layout.delivery_log(TENANT, broken), b"{", media_type="application/json")
    assert [(each.id, each.state) for each in outbox.list(TENANT, 10)] == [
        (broken, "given_up"),
        (good.id, "waiting"),
    ]


def test_a_message_that_was_delivered_already_is_not_taken_again(outbox: Outbox) -> None:
    """The sender was killed after it removed the message from the store, before it removed it from Redis."""
    outbox.delay(DeliveryName(TENANT, "gone"), now())
    name = outbox.take_due(0)
    assert name == (TENANT, "gone")
    assert outbox.load(name) is None
    assert outbox.take_due(0) is None
