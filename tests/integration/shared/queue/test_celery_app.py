"""Messages in a real Redis: how many there are, and in which order a worker reads them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from celery import Celery
from kombu import Consumer, Queue

from deploy.local import Stack
from shared.queue.celery_app import MAX_MESSAGES, QUEUES, count_messages, create_broker, send_job, send_release
from shared.queue.kombu_transport import RELEASES


@pytest.fixture
def broker(stack: Stack) -> Iterator[Celery]:
    url = stack.settings.redis_url.removesuffix("/0") + "/7"
    yield create_broker(stack.settings.model_copy(update={"redis_url": url}))
    redis.Redis.from_url(url).flushdb()


def test_however_many_jobs_are_submitted_the_number_of_messages_is_limited(broker: Celery) -> None:
    with ThreadPoolExecutor(4) as threads:
        for _ in threads.map(lambda number: send_job(broker, f"{number}", "bulk"), range(MAX_MESSAGES + 300)):
            pass
    assert MAX_MESSAGES <= count_messages(broker) <= MAX_MESSAGES + 4
    send_job(broker, "another", "interactive")  # each queue has a limit of its own
    assert count_messages(broker, ["interactive"]) == 1


def test_a_release_check_does_not_wait_behind_jobs_and_jobs_do_not_wait_behind_checks(broker: Celery) -> None:
    for number in range(3):
        send_job(broker, f"{number}", "interactive")
        send_job(broker, f"{number}", "bulk")
        send_release(broker, f"net-{number}", "1")
    order: list[str] = []
    with broker.connection_for_read() as connection, connection.channel() as channel:

        def note(_body: object, message: object) -> None:
            order.append(message.delivery_info["routing_key"])  # type: ignore[attr-defined]
            message.ack()  # type: ignore[attr-defined]

        queues = [Queue(name) for name in ("worker.own", *QUEUES, RELEASES)]
        with Consumer(channel, queues, callbacks=[note], accept=["json"]) as consumer:
            consumer.qos(prefetch_count=1)
            while len(order) < 9:
                connection.drain_events(timeout=30)
    assert order[:6] == [RELEASES, "interactive"] * 3
    assert order[6:] == ["bulk"] * 3
