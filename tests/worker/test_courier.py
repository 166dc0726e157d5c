"""Webhooks against a real receiver: signed, each once, whatever was down, and never to where they must not go."""

import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from deploy.local import Stack, free_port
from shared.access import NewKey
from shared.client import Client
from shared.jobs import State, now
from shared.methods import REQUEST
from shared.records import Records, key
from shared.webhooks import Outbox, StoredDelivery, Try
from tests.orders import place_delivery
from tests.receiver import Receiver
from worker.courier import Courier, judge

SHORT: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": [0], "params": {"steps": 2}}


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


def test_an_end_is_told_and_its_signature_can_be_checked(stack: Stack, client: Client, receiver: Receiver) -> None:
    job = submit(client, receiver, tags=["nightly"])
    receiver.wait_for(1)
    headers, body = receiver.taken[0]
    message = Webhook(get_secret(stack)).verify(body, headers)
    assert message["type"] == "job.succeeded"
    assert message["data"]["id"] == headers["webhook-id"] == job
    assert message["data"]["tags"] == ["nightly"]
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    told = httpx2.get(f"{stack.url}/v1/webhooks/deliveries/{job}").json()
    assert told["state"] == "delivered"
    assert [one["status"] for one in told["tries"]] == [200]


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_every_end_is_told(client: Client, receiver: Receiver, end: str) -> None:
    if end == "failed":
        job = submit(client, receiver, params={"learning_rate": 1000, "start": "zero", "preset": "simonyan2013"})
        job = job if client.wait(job, timeout=60).state is State.FAILED else ""
    else:
        job = submit(client, receiver, model="slow", params={"steps": 2000})
        client.cancel(job)
    if not job:
        pytest.skip("this ascent did not fail")
    receiver.wait_for(1)
    assert json.loads(receiver.taken[0][1])["type"] == f"job.{end}"


def test_a_dead_receiver_delays_nobody_else(client: Client, receiver: Receiver) -> None:
    dead = Receiver(free_port(), slow_seconds=60)
    dead.start()
    for _ in range(20):
        submit(client, dead)
    asked = time.monotonic()
    job = submit(client, receiver)
    client.wait(job, timeout=60)
    ended = time.monotonic()
    receiver.wait_for(1, seconds=20)
    assert receiver.ids() == [job]
    assert time.monotonic() - ended < 5, ended - asked
    dead.stop()


def test_what_redis_forgot_is_told_all_the_same(stack: Stack, receiver: Receiver) -> None:
    records = Records(stack.settings)
    delivery = place_delivery(stack, receiver.url)
    with records.connection() as redis:
        assert redis.zscore(key("outbox"), f"default/{delivery.id}") is None
    receiver.wait_for(1, seconds=45)
    assert receiver.ids() == [delivery.id]


def test_a_message_is_sent_again_under_its_own_id(stack: Stack, client: Client, receiver: Receiver) -> None:
    job = submit(client, receiver)
    receiver.wait_for(1)
    assert httpx2.post(f"{stack.url}/v1/webhooks/deliveries/{job}/replay").status_code == 202
    receiver.wait_for(2)
    assert receiver.ids() == [job, job]


def test_for_a_day_both_secrets_are_signed_with(stack: Stack, client: Client, receiver: Receiver) -> None:
    old = get_secret(stack)
    new = httpx2.post(f"{stack.url}/v1/webhooks/secret").json()["items"][0]["secret"]
    assert old != new
    submit(client, receiver)
    receiver.wait_for(1)
    headers, body = receiver.taken[0]
    assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers)


def test_where_a_receiver_points_is_not_followed(stack: Stack, client: Client, receiver: Receiver) -> None:
    receiver.answer = 302
    job = submit(client, receiver)
    limit = time.monotonic() + 30
    while not (found := httpx2.get(f"{stack.url}/v1/webhooks/deliveries/{job}").json()).get("tries"):
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert found["tries"][0]["status"] == 302
    assert found["state"] == "waiting"
    assert receiver.taken == []


def test_another_tenants_deliveries_are_not_there(stack: Stack, client: Client, receiver: Receiver) -> None:
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
        "http://example.com/hook", "ftp://example.com/", "https://user:word@example.com/", "https://10.0.0.1/",
        "https://169.254.169.254/latest", "https://[::1%25eth0]/", "https://[fd00::1]/", "https://0.0.0.0/", "https:///x",
        "https://[::ffff:10.0.0.1]/", "https://example.com:99999/", "not a url", "https://224.0.0.1/",
    ],
)  # fmt: skip
def test_an_address_that_must_not_be_sent_to_is_refused(stack: Stack, url: str) -> None:
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=SHORT | {"webhook": url})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == "/webhook"


def test_the_address_that_was_checked_is_the_one_connected_to(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a private address when it is looked up is not sent to, whatever it led to before."""
    places = iter(["93.184.215.14", "10.0.0.1"])

    def look_up(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(places), 443))]

    reached: list[str] = []

    def stream(_self: Any, _method: str, url: str, **more: Any) -> Any:
        reached.append(f"{url} {more['headers']['Host']} {more['extensions']['sni_hostname']}")
        raise httpx2.ConnectError("not in a test")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(httpx2.Client, "stream", stream)
    courier = Courier(stack.settings, Records(stack.settings), Outbox(Records(stack.settings), None), Fixed())  # type: ignore[arg-type]
    delivery = make_delivery("https://receiver.example/hook?x=1")
    assert courier.send(delivery).error == "not in a test"
    assert "10.0.0.1 is not an address of the public internet" in (courier.send(delivery).error or "")
    assert reached == ["https://93.184.215.14:443/hook?x=1 receiver.example receiver.example"]


class Fixed:
    """One secret for everybody."""

    def choose(self, _tenant: str) -> list[str]:
        return ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]


def make_delivery(url: str) -> StoredDelivery:
    moment = now()
    return StoredDelivery(id="1", tenant="t", url=url, event="job.failed", data={}, created_at=moment, begun_at=moment)


def test_tries_are_ever_further_apart_and_end_after_a_day() -> None:
    delivery = make_delivery("https://receiver.example/")
    waits = []
    for _ in range(12):
        tried = Try(at=now(), seconds=1, error="down")
        delivery = judge(delivery, tried)
        assert delivery.next_at is not None
        waits.append((delivery.next_at - now()).total_seconds())
    assert 3.9 < waits[0] < 6.1
    assert all(after > before for before, after in pairwise(waits[:10]))
    assert max(waits) <= 3600 * 1.2
    old = delivery.model_copy(update={"begun_at": delivery.begun_at.replace(year=2020)})
    assert judge(old, Try(at=now(), seconds=1, error="down")).state == "given_up"
    assert judge(delivery, Try(at=now(), seconds=1, status=410, error="gone")).state == "given_up"
