"""Room in the queue: limits of all tenants and of one tenant, in a Redis database from which no worker claims."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from api.dependencies import Services, connect
from api.services.cancel_job import cancel
from api.services.submit_job import submit
from archetype.contract.job import Job
from deploy.local import Stack
from shared.errors import LimitReached, QueueFull
from shared.storage.api_keys import Caller

BODY: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": [0], "params": {"steps": 2}}

MakeServices = Callable[..., Services]


@pytest.fixture
def make_services(stack: Stack) -> Iterator[MakeServices]:
    url = stack.settings.redis_url.removesuffix("/0") + "/7"
    yield lambda **limits: connect(stack.settings.model_copy(update={"redis_url": url} | limits))
    redis.Redis.from_url(url).flushdb()


def send(services: Services, tenant: str, body: dict[str, Any] = BODY) -> Job:
    return submit(body, services, Caller(tenant=tenant), idempotency_key=None)


def fill(services: Services, tenant: str) -> int:
    """Submits jobs until one is refused; returns how many were accepted."""
    for accepted in range(200):
        try:
            send(services, tenant)
        except QueueFull:
            return accepted
    raise AssertionError("the queue has no limit")


def test_tenants_that_fill_the_queue_leave_room_for_others(make_services: MakeServices) -> None:
    services = make_services(max_queued_jobs=40)
    assert fill(services, "first") == 36
    send(services, "second")
    assert fill(services, "first") == 0
    assert fill(services, "second") >= 1
    assert services.job_index.count_queued("first") == (40, 36)


def test_the_queue_has_a_limit_for_all_tenants_together(make_services: MakeServices) -> None:
    services = make_services(max_queued_jobs=3)
    for tenant in ("a", "b", "c"):
        send(services, tenant)
    with pytest.raises(QueueFull, match="the maximum is 3"):
        send(services, "d")


def test_shards_of_a_tenant_are_limited_until_its_jobs_have_ended(make_services: MakeServices) -> None:
    services = make_services(max_tenant_shards=5)
    large = BODY | {"targets": [0, 1, 2], "params": {"steps": 2, "seeds": list(range(8))}}
    job = send(services, "greedy", large)
    assert services.job_index.count_shards("greedy") == 3
    with pytest.raises(LimitReached, match="max_tenant_shards") as caught:
        send(services, "greedy", large)
    (field,) = caught.value.document.errors
    assert (field.field, field.given, field.allowed) == ("max_tenant_shards", 6, 5)
    send(services, "greedy")  # a smaller one fits
    send(services, "modest", large)  # another tenant is not concerned
    cancel(job, services)
    assert services.job_index.count_shards("greedy") == 1
    send(services, "greedy", large)


def test_shards_of_a_submission_in_progress_count(make_services: MakeServices) -> None:
    services = make_services(max_tenant_shards=5)
    with services.admission.hold("greedy:shards", 5), pytest.raises(LimitReached):
        send(services, "greedy")
    send(services, "greedy")


def test_a_count_that_an_earlier_version_left_too_high_ends_with_the_last_job(make_services: MakeServices) -> None:
    services = make_services(max_tenant_shards=5)
    with services.redis_client.connection() as connection:
        connection.set("archetype:targets:greedy:shards", 4)  # its workers did not count down
    cancel(send(services, "greedy"), services)
    assert services.job_index.count_shards("greedy") == 0
