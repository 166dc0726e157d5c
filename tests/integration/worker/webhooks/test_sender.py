"""The sender with a real Redis, a real store and real receivers: no tenant and no message stops the others."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
import redis
from standardwebhooks import Webhook

from archetype.contract.job import now
from deploy.local import Stack, free_port
from shared.errors import Unavailable
from shared.settings import Settings
from shared.storage import layout
from shared.storage.outbox import StoredDelivery
from shared.storage.s3 import Bucket
from shared.storage.webhook_secrets import SecretStore
from tests.support.clock import set_wrong
from tests.support.hostile_receiver import answer, drip, hostile_receiver
from tests.support.receiver import Receiver
from tests.support.sender_workplace import Workplace
from tests.support.waiting import wait_until
from worker.webhooks.slots import MAX_OF_TENANT


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    url = stack.settings.redis_url.removesuffix("/0") + "/9"
    changes = {"redis_url": url, "s3_bucket": "sender-tests", "keyless_loopback": True, "liveness_dir": None}
    return stack.settings.model_copy(update=changes)


@pytest.fixture(scope="module")
def bucket(settings: Settings) -> Bucket:
    made = Bucket(settings)
    made.create()
    return made


@pytest.fixture
def workplace(settings: Settings, bucket: Bucket) -> Iterator[Workplace]:
    for place in list(bucket.keys(layout.OUTBOX)):
        bucket.delete(place)
    yield Workplace(settings, bucket)
    redis.Redis.from_url(settings.redis_url).flushdb()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(free_port())
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("change", [timedelta(days=2), -timedelta(days=2)], ids=["ahead", "behind"])
def test_a_sender_whose_clock_is_wrong_delivers_and_tries_again_in_time(
    workplace: Workplace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, change: timedelta
) -> None:
    good, failing = workplace.place(receiver.url), workplace.place(f"http://127.0.0.1:{free_port()}/")
    began = now()
    set_wrong(monkeypatch, change)
    with workplace.running():
        assert workplace.wait_for(good, has_ended).state == "delivered"
        tried = workplace.wait_for(failing, lambda delivery: delivery.tries)
    assert tried.state == "waiting"
    assert timedelta(0) < tried.next_at - began < timedelta(hours=1)


def has_ended(delivery: StoredDelivery) -> bool:
    return delivery.state != "waiting"


def has_tries(delivery: StoredDelivery) -> bool:
    return bool(delivery.tries)


def get_error(delivery: StoredDelivery) -> str:
    return delivery.tries[-1].error or ""


def test_slow_receivers_of_a_tenant_do_not_delay_the_deliveries_of_another(
    workplace: Workplace, receiver: Receiver
) -> None:
    """The slow tenant has twenty receivers that send one byte at a time, and more messages than there are slots."""
    dripping = drip(b"HTTP/1.1 200 OK\r\nX-Header: " + b"a" * 10_000)
    with ExitStack() as stack:
        ports = [stack.enter_context(hostile_receiver(dripping)) for _ in range(20)]
        slow = [workplace.place(f"http://127.0.0.1:{port}/", "slow") for port in ports for _ in range(5)]
        workplace.exchange_seconds = 300
        with workplace.running() as sender:
            wait_until(lambda: sender._slots.list_full_tenants() == ["slow"], 60)
            others = [workplace.place(receiver.url, "other") for _ in range(10)]
            receiver.wait_for(10, seconds=60)
            assert sender._slots._of_tenant["slow"] == MAX_OF_TENANT
            assert sorted(receiver.ids()) == sorted(delivery.id for delivery in others)
            assert not any(workplace.outbox.find("slow", delivery.id).tries for delivery in slow)  # type: ignore[union-attr]
            stack.close()  # the slow receivers break their connections, and the attempts end


def test_a_receiver_that_drips_fails_after_the_deadline_and_frees_its_slot(workplace: Workplace) -> None:
    workplace.exchange_seconds = 2
    with (
        hostile_receiver(drip(b"HTTP/1.1 200 OK\r\nX-Header: " + b"a" * 10_000)) as port,
        workplace.running() as sender,
    ):
        delivery = workplace.wait_for(workplace.place(f"http://127.0.0.1:{port}/"), has_tries)
        assert "the answer took too long: the deadline is 2 s" in get_error(delivery)
        wait_until(lambda: not sender._slots._of_tenant, 60)


@pytest.mark.parametrize(
    "url",
    [
        f"https://{'a' * 64}.example/",
        "https://a..example/",
        "https://../",
        "https://\ufffd.example/",
        "https://example.org:99999/",
        "https://[::1/",
        "https://user:word@example.org/",
        "https://0x7f.1/",
        "https://exa\tmple.org/",
        "no url",
        "",
    ],
)
def test_an_impossible_url_is_a_failed_attempt_that_ends(workplace: Workplace, url: str) -> None:
    sender = workplace.make_sender()
    for _ in [workplace.place(url) for _ in range(3)]:
        name = workplace.outbox.take_due(600)
        assert name is not None
        sender._deliver(sender._slots.take(name.tenant), name)
        found = workplace.outbox.find(*name)
        assert found is not None
        assert (found.state, len(found.tries), found.tries[0].status) == ("given_up", 1, None)
        assert get_error(found)
    assert not sender._slots._of_receiver


@pytest.mark.parametrize(
    "error",
    [
        UnicodeError("label too long"),
        KeyError("x"),
        RuntimeError(),
        MemoryError(),
        StopIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_is_a_failed_attempt_that_frees_its_slot(
    workplace: Workplace, receiver: Receiver, error: Exception
) -> None:
    sender = workplace.make_sender()
    workplace.secrets.error = error
    failing = workplace.place(receiver.url)
    name = workplace.outbox.take_due(600)
    assert name is not None
    sender._deliver(sender._slots.take(name.tenant), name)
    found = workplace.outbox.find(*name)
    assert found is not None
    assert (found.state, len(found.tries)) == ("waiting", 1)
    assert get_error(found)
    assert not sender._slots._of_tenant
    assert not sender._slots._of_receiver
    assert failing.id == found.id


def test_secrets_that_cannot_be_read_now_are_not_the_fault_of_the_receiver(
    workplace: Workplace, receiver: Receiver
) -> None:
    sender = workplace.make_sender()
    workplace.secrets.error = Unavailable("down")
    workplace.place(receiver.url)
    name = workplace.outbox.take_due(3600)
    assert name is not None
    sender._deliver(sender._slots.take(name.tenant), name)
    found = workplace.outbox.find(*name)
    assert found is not None
    assert (found.state, found.tries) == ("waiting", [])
    assert not sender._slots._of_tenant
    assert not sender._slots._of_receiver
    workplace.secrets.error = None
    taken = wait_until(lambda: workplace.outbox.take_due(3600), 60)  # long before the reservation has ended
    sender._deliver(sender._slots.take(name.tenant), taken)
    assert receiver.ids() == [name.id]  # at once: the receiver is not paused


def test_a_message_that_cannot_be_read_does_not_stop_the_others(workplace: Workplace, receiver: Receiver) -> None:
    for number, content in enumerate((b"{", b"\xff", b"[1]", b"")):
        place = layout.outbox_entry("a", f"{number}")
        workplace.bucket.put(place, content, media_type="application/json")
    workplace.bucket.put("outbox/misplaced.json", b"{}", media_type="application/json")
    good = workplace.place(receiver.url, "b")
    with workplace.running():
        workplace.wait_for(good, has_ended)
        wait_until(lambda: list(workplace.bucket.keys("outbox/")) == ["outbox/misplaced.json"], 60)
    assert receiver.ids() == [good.id]


@pytest.mark.parametrize("status", [b"429", b"503"])
def test_the_time_that_a_receiver_asks_for_is_honored(workplace: Workplace, status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b" Busy\r\nRetry-After: 900\r\n\r\n"
    with hostile_receiver(answer(head)) as port, workplace.running() as sender:
        delivery = workplace.wait_for(workplace.place(f"http://127.0.0.1:{port}/"), has_tries)
        assert delivery.next_at is not None
        assert delivery.next_at - delivery.tries[0].at >= timedelta(seconds=899)
        # further messages of the tenant wait as well, without an attempt
        slot = sender._slots.take("tenant")
        wait_until(lambda: sender._slots.enter(slot, f"127.0.0.1:{port}") > 800, 60)
        sender._slots.give_back(slot)


def test_a_receiver_that_is_gone_ends_the_delivery(workplace: Workplace) -> None:
    with hostile_receiver(answer(b"HTTP/1.1 410 Gone\r\n\r\n")) as port, workplace.running():
        delivery = workplace.wait_for(workplace.place(f"http://127.0.0.1:{port}/"), has_tries)
        assert (delivery.state, delivery.tries[0].status) == ("given_up", 410)


def test_a_delivery_whose_time_is_over_is_given_up_without_an_attempt(workplace: Workplace, receiver: Receiver) -> None:
    late = workplace.place(receiver.url, begun_at=now() - timedelta(days=2))
    with workplace.running():
        delivery = workplace.wait_for(late, has_ended)
    assert (delivery.state, receiver.taken) == ("given_up", [])
    assert "a replay sends it again" in get_error(delivery)


def test_a_sender_that_was_killed_after_sending_sends_the_same_message_again(
    workplace: Workplace, receiver: Receiver
) -> None:
    delivery = workplace.place(receiver.url)
    assert workplace.outbox.take_due(0) is not None
    assert workplace.make_sender().send(delivery).attempt.error is None  # and nothing is recorded
    with workplace.running():
        assert workplace.wait_for(delivery, has_ended).state == "delivered"
    assert receiver.ids() == [delivery.id] * 2


def test_messages_are_signed_with_the_secrets_of_the_tenant(workplace: Workplace, receiver: Receiver) -> None:
    secrets = SecretStore(workplace.redis_client, workplace.bucket)
    workplace.secrets = secrets  # type: ignore[assignment]
    with workplace.running():
        workplace.wait_for(workplace.place(receiver.url, "signed"), has_ended)
    headers, body = receiver.taken[0]
    assert Webhook(secrets.find("signed").items[0].secret).verify(body, headers)["type"] == "job.failed"
