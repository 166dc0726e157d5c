"""The sender while Redis or the store goes away and returns, and how it shows that it delivers."""

import time
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import structlog

from deploy.local import Stack, free_port
from shared.state.delivery_queue import LOOKED
from shared.storage import layout
from shared.storage.s3 import Bucket
from tests.chaos.proxy import Fault, Proxy
from tests.support.gate import Gate, open_gate
from tests.support.hostile_receiver import drip, hostile_receiver
from tests.support.receiver import Receiver
from tests.support.sender_workplace import Workplace
from tests.support.waiting import wait_until
from worker.webhooks.sender import LIVENESS_FILE, STUCK_SECONDS


@pytest.fixture(scope="module")
def gate(stack: Stack) -> Iterator[Gate]:
    port = urlsplit(stack.settings.redis_url).port
    assert port is not None
    with open_gate(port) as made:
        yield made


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> Iterator[Proxy]:
    with Proxy() as made:
        made.upstream = urlsplit(stack.settings.s3_endpoint or "").netloc
        yield made


@pytest.fixture
def workplace(stack: Stack, gate: Gate, proxy: Proxy) -> Iterator[Workplace]:
    """A sender whose Redis can be shut away, and whose store can fail."""
    url = stack.settings.redis_url.removesuffix("/0") + "/9"
    user, _, _ = urlsplit(url).netloc.rpartition("@")
    through = urlsplit(url)._replace(netloc=f"{user}@127.0.0.1:{gate.port}" if user else f"127.0.0.1:{gate.port}")
    changes = {"redis_url": through.geturl(), "s3_endpoint": proxy.url, "s3_bucket": "outage-tests"}
    settings = stack.settings.model_copy(update=changes | {"keyless_loopback": True, "liveness_dir": None})
    bucket = Bucket(settings)
    bucket.create()
    for place in list(bucket.keys(layout.OUTBOX)):
        bucket.delete(place)
    yield Workplace(settings, bucket)
    redis.Redis.from_url(url).flushdb()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(free_port(), slow_seconds=0.5)
    made.start()
    yield made
    made.stop()


def wait_for_log(logs: Sequence[MutableMapping[str, Any]], events: set[str], count: int) -> None:
    """Waits until the sender has failed several times."""
    wait_until(lambda: sum(entry["event"] in events for entry in logs) >= count, 300, message=lambda: str(logs[-5:]))


@pytest.mark.usefixtures("every_level_logged")
@pytest.mark.parametrize("away", ["redis", "store"])
def test_every_message_arrives_after_an_outage(
    workplace: Workplace, receiver: Receiver, gate: Gate, proxy: Proxy, away: str
) -> None:
    """The outage begins while messages are sent, and lasts until the sender has failed many times."""
    placed = [workplace.place(receiver.url, tenant) for tenant in ("a", "b", "c") for _ in range(10)]
    with structlog.testing.capture_logs() as logs, workplace.running() as sender:
        receiver.wait_for(2)
        if away == "redis":
            gate.shut()
            wait_for_log(logs, {"webhook_sender.interrupted"}, 3)
            gate.open()
        else:
            with proxy.fault(Fault(status=503)):
                wait_for_log(logs, {"webhook.postponed", "webhook.unnoted"}, 12)
        for delivery in placed:
            workplace.wait_for(delivery, lambda found: found.state == "delivered", seconds=400)
        assert set(receiver.ids()) == {delivery.id for delivery in placed}
        wait_until(lambda: not sender._slots._taken, 60)
        assert not any((sender._slots._of_tenant, sender._slots._of_receiver, sender._slots._of_both))
    found = [workplace.outbox.find(delivery.tenant, delivery.id) for delivery in placed]
    errors = [attempt.error for delivery in found if delivery is not None for attempt in delivery.tries]
    assert errors == [None] * len(placed)  # an outage is not an attempt that failed


def test_a_sender_with_a_delivery_that_never_ends_does_not_look_alive(
    workplace: Workplace, receiver: Receiver, tmp_path: Path
) -> None:
    workplace.settings = workplace.settings.model_copy(update={"liveness_dir": tmp_path})
    workplace.exchange_seconds = 10 * STUCK_SECONDS
    file, ahead = tmp_path / LIVENESS_FILE, [0.0]
    dripping = drip(b"HTTP/1.1 200 OK\r\nX-Header: " + b"a" * 10_000)
    with workplace.running(lambda: time.monotonic() + ahead[0]) as sender, hostile_receiver(dripping) as port:
        workplace.place(f"http://127.0.0.1:{port}/", "a")
        wait_until(lambda: sender._slots._of_receiver, 60)
        wait_until(file.exists, 60)
        ahead[0] = STUCK_SECONDS + 1
        wait_for_poll(workplace)
        file.unlink()
        other = workplace.place(receiver.url, "b")
        workplace.wait_for(other, lambda found: found.state == "delivered")  # it works, but one slot is lost
        wait_for_poll(workplace)
        assert not file.exists()
        sender._slots.give_back(next(iter(sender._slots._taken)))
        wait_until(file.exists, 60)


def wait_for_poll(workplace: Workplace) -> None:
    """Waits until the sender has looked for due deliveries twice."""
    seen: set[object] = set()
    with workplace.redis_client.connection() as connection:
        wait_until(lambda: seen.add(connection.get(LOOKED)) or len(seen) == 3, 60)
