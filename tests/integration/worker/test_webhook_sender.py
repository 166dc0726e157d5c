"""Webhooks with a real receiver: they are signed, delivered once, and never sent to forbidden addresses."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from archetype.client import Client
from archetype.contract.api_key import NewKey
from archetype.contract.job import State
from archetype.contract.request import REQUEST
from deploy.local import Stack, free_port
from shared.state.delivery_queue import QUEUE_OF_TENANT
from shared.state.redis_client import RedisClient
from tests.support.jobs import place_delivery
from tests.support.receiver import Receiver

SHORT: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": [0], "params": {"steps": 2}}

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(free_port())
    made.start()
    yield made
    made.stop()


def submit(client: Client, receiver: Receiver, **changes: Any) -> str:
    return client.submit(REQUEST.validate_python(SHORT | {"webhook": receiver.url} | changes)).id


def get_secret(stack: Stack) -> str:
    return str(httpx2.get(f"{stack.url}/v1/webhooks/secret").json()["items"][0]["secret"])


def test_the_webhook_of_a_job_has_a_valid_signature(stack: Stack, client: Client, receiver: Receiver) -> None:
    job = submit(client, receiver, tags=["nightly"])
    receiver.wait_for(1)
    headers, body = receiver.taken[0]
    message = Webhook(get_secret(stack)).verify(body, headers)
    assert message["type"] == "job.succeeded"
    assert message["data"]["id"] == headers["webhook-id"] == job
    assert message["data"]["tags"] == ["nightly"]
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    delivery = httpx2.get(f"{stack.url}/v1/webhooks/deliveries/{job}").json()
    assert delivery["state"] == "delivered"
    assert [attempt["status"] for attempt in delivery["tries"]] == [200]


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_failed_and_cancelled_jobs_send_a_webhook(client: Client, receiver: Receiver, end: str) -> None:
    if end == "failed":
        job = submit(client, receiver, params={"learning_rate": 1000, "start": "zero", "preset": "simonyan2013"})
        job = job if client.wait(job, timeout=400).state is State.FAILED else ""
    else:
        job = submit(client, receiver, model="slow", params={"steps": 2000})
        client.cancel(job)
    if not job:
        pytest.skip("this ascent did not fail")
    receiver.wait_for(1)
    assert json.loads(receiver.taken[0][1])["type"] == f"job.{end}"


def test_a_slow_receiver_does_not_delay_other_receivers(client: Client, receiver: Receiver) -> None:
    dead = Receiver(free_port(), slow_seconds=60)
    dead.start()
    for _ in range(20):
        submit(client, dead)
    asked = time.monotonic()
    job = submit(client, receiver)
    client.wait(job, timeout=400)
    ended = time.monotonic()
    receiver.wait_for(1, seconds=20)
    assert receiver.ids() == [job]
    assert time.monotonic() - ended < 5, ended - asked
    dead.stop()


def test_a_delivery_that_redis_has_lost_is_sent(stack: Stack, receiver: Receiver) -> None:
    redis_client = RedisClient(stack.settings)
    delivery = place_delivery(stack, receiver.url)
    with redis_client.connection() as redis:
        assert redis.zscore(QUEUE_OF_TENANT + "default", delivery.id) is None
    receiver.wait_for(1, seconds=45)
    assert receiver.ids() == [delivery.id]


def test_a_replayed_delivery_keeps_its_id(stack: Stack, client: Client, receiver: Receiver) -> None:
    job = submit(client, receiver)
    receiver.wait_for(1)
    assert httpx2.post(f"{stack.url}/v1/webhooks/deliveries/{job}/replay").status_code == 202
    receiver.wait_for(2)
    assert receiver.ids() == [job, job]


def test_deliveries_are_signed_with_the_old_and_the_new_secret_for_a_day(
    stack: Stack, client: Client, receiver: Receiver
) -> None:
    old = get_secret(stack)
    new = httpx2.post(f"{stack.url}/v1/webhooks/secret").json()["items"][0]["secret"]
    assert old != new
    submit(client, receiver)
    receiver.wait_for(1)
    headers, body = receiver.taken[0]
    assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers)


def test_redirects_of_a_receiver_are_not_followed(stack: Stack, client: Client, receiver: Receiver) -> None:
    receiver.answer = 302
    job = submit(client, receiver)
    limit = time.monotonic() + 30
    while not (delivery := httpx2.get(f"{stack.url}/v1/webhooks/deliveries/{job}").json()).get("tries"):
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert delivery["tries"][0]["status"] == 302
    assert delivery["state"] == "waiting"
    assert receiver.taken == []


def test_deliveries_of_another_tenant_are_not_found(stack: Stack, client: Client, receiver: Receiver) -> None:
    job = submit(client, receiver)
    receiver.wait_for(1)
    assert stack.settings.operator_token is not None
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as operator:
        token = operator.issue_key(NewKey(tenant="mallory")).token
    with httpx2.Client(base_url=stack.url, headers={"Authorization": f"Bearer {token}"}) as mallory:
        assert mallory.get(f"/v1/webhooks/deliveries/{job}").status_code == 404
        assert mallory.post(f"/v1/webhooks/deliveries/{job}/replay").status_code == 404
        assert mallory.get("/v1/webhooks/deliveries").json() == {"items": []}
        assert mallory.get("/v1/webhooks/secret").json()["items"][0]["secret"] != get_secret(stack)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com/",
        "https://user:word@example.com/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1%25eth0]/",
        "https://[fd00::1]/",
        "https://0.0.0.0/",
        "https:///x",
        "https://[::ffff:10.0.0.1]/",
        "https://example.com:99999/",
        "not a url",
        "https://224.0.0.1/",
        f"https://{'a' * 64}.example/",
        "https://a..example/",
        "https://0x7f.1/",
        "https://[64:ff9b::7f00:1]/",
        "https://exa\tmple.org/",
        "https://\ud800.example/",
    ],
)
def test_a_webhook_with_a_forbidden_address_is_refused(stack: Stack, url: str) -> None:
    answer = httpx2.post(f"{stack.url}/v1/jobs", content=json.dumps(SHORT | {"webhook": url}), headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == "/webhook"
