"""The page about the service: what a tenant sees, and what only the operator sees and does."""

from collections.abc import Iterator

import httpx2
import pytest

from archetype.client import Client
from archetype.contract.api_key import NewKey
from archetype.contract.request import ClassModel
from deploy.local import Stack
from shared.queue.claims import Claims
from shared.state.redis_client import RedisClient
from shared.storage.outbox import Outbox
from shared.storage.s3 import Bucket
from tests.support.jobs import place, place_delivery
from tests.support.waiting import wait_until

SECTIONS = {"workers", "queue", "webhooks", "releases", "keys"}


@pytest.fixture(scope="module")
def page(stack: Stack, operator: Client) -> Iterator[httpx2.Client]:
    """The pages as the operator sees them."""
    headers = dict(operator._transport.http.headers)
    with httpx2.Client(base_url=stack.url, headers=headers, timeout=30) as connected:
        yield connected


def find_sections(text: str) -> set[str]:
    return {name for name in SECTIONS if f'id="{name}"' in text}


def test_a_tenant_sees_its_own_webhooks_and_releases(stack: Stack, http: httpx2.Client, mallory: httpx2.Client) -> None:
    delivery = place_delivery(stack, "http://receiver.invalid/default")
    http.post(f"/service/deliveries/{delivery.id}/replay")
    wait_until(lambda: "receiver.invalid/default" in http.get("/service").text)
    text = mallory.get("/service").text
    assert find_sections(text) == {"webhooks", "releases"}
    assert "receiver.invalid" not in text


def test_the_operator_sees_workers_and_the_queue_of_all_tenants(stack: Stack, page: httpx2.Client) -> None:
    with Client(stack.url) as client:
        client.wait(client.submit(ClassModel(method="class_model", model="shapes", targets=[0])).id, timeout=400)
    redis_client = RedisClient(stack.settings)
    claims = Claims(redis_client)
    wait_until(lambda: "shapes@1" in page.get("/service").text)  # the worker reports after the job
    job = place(claims, lane="nowhere@1/class_model", tenant="patient")
    try:
        text = page.get("/service").text
        assert find_sections(text) == SECTIONS
        assert "patient" in text
    finally:
        claims.withdraw(job.id, "asked", "test")


def test_a_webhook_is_sent_again(stack: Stack, http: httpx2.Client) -> None:
    delivery = place_delivery(stack, "http://127.0.0.1:9/again")
    answer = http.post(f"/service/deliveries/{delivery.id}/replay")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/service#webhooks")
    outbox = Outbox(RedisClient(stack.settings), Bucket(stack.settings))
    wait_until(lambda: (found := outbox.find("default", delivery.id)) and found.tries)
    assert http.post(f"/service/deliveries/{'0' * 26}/replay").status_code == 404


def test_only_the_operator_revokes_keys_on_the_page(
    page: httpx2.Client, mallory: httpx2.Client, operator: Client
) -> None:
    issued = operator.issue_key(NewKey(tenant="shown", name="of the page"))
    assert issued.id not in mallory.get("/service").text
    assert mallory.post(f"/service/keys/{issued.id}/revoke").status_code == 403
    assert "of the page" in page.get("/service").text
    assert page.post(f"/service/keys/{issued.id}/revoke").status_code == 303
    assert next(key for key in operator.list_keys() if key.id == issued.id).revoked_at is not None
