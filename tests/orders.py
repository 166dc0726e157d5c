"""Jobs for tests that look into the service's records: placed past the API, in lanes of their own."""

from datetime import timedelta
from typing import Any

from deploy.local import Stack
from shared.bucket import Bucket
from shared.claims import Claims
from shared.jobs import Job, Order, new_job_id, now
from shared.records import Records
from shared.webhooks import Outbox, StoredDelivery


def place(claims: Claims, job_id: str = "", *, lane: str = "shapes@1/class_model", **changes: Any) -> Job:
    """Puts a job into the records."""
    order = make_order(lane=lane, **changes)
    job_id = job_id or new_job_id()
    claims.create(job_id, order)
    return order.job(job_id)


def make_order(
    *,
    lane: str = "shapes@1/class_model",
    shares: tuple[int, ...] = (1,),
    weight: int = 1,
    seconds: float = 3600,
    **request: Any,
) -> Order:
    """An order whose request is not looked at."""
    said = {"method": "class_model", "model": "shapes@1", "priority": "interactive", "tags": []} | request
    deadline = now() + timedelta(seconds=seconds)
    return Order(request=said, lane=lane, shares=list(shares), weight=weight, created_at=now(), deadline=deadline)


def place_delivery(stack: Stack, url: str) -> StoredDelivery:
    """A message in the store of which Redis knows nothing."""
    moment = now()
    delivery = StoredDelivery(
        id=new_job_id(), tenant="default", url=url, event="job.succeeded", data={}, created_at=moment, begun_at=moment
    )
    Outbox(Records(stack.settings), Bucket(stack.settings)).put(delivery)
    return delivery
