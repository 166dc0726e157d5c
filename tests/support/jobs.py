"""Jobs and deliveries that tests write to Redis and the store without the API."""

from datetime import timedelta
from typing import Any

from archetype.contract.job import DEFAULT_TENANT, Job, now
from deploy.local import Stack
from shared.queue.claims import Claims
from shared.state.job_ids import new_job_id
from shared.state.redis_client import RedisClient
from shared.storage.documents import JobSpec
from shared.storage.outbox import Outbox, StoredDelivery
from shared.storage.s3 import Bucket


def place(claims: Claims, job_id: str = "", *, lane: str = "shapes@1/class_model", **changes: Any) -> Job:
    """Queues a job in Redis."""
    spec = make_spec(lane=lane, **changes)
    job_id = job_id or new_job_id()
    claims.create(job_id, spec)
    return spec.job(job_id)


def make_spec(
    *,
    lane: str = "shapes@1/class_model",
    shards: tuple[int, ...] = (1,),
    weight: int = 1,
    seconds: float = 3600,
    tenant: str = DEFAULT_TENANT,
    **request: Any,
) -> JobSpec:
    """An accepted request that no worker reads."""
    fields = {"method": "class_model", "model": "shapes@1", "priority": "interactive", "tags": []} | request
    deadline = now() + timedelta(seconds=seconds)
    return JobSpec(
        tenant=tenant,
        request=fields,
        lane=lane,
        shards=list(shards),
        weight=weight,
        created_at=now(),
        deadline=deadline,
    )


def place_delivery(stack: Stack, url: str) -> StoredDelivery:
    """Stores a message that Redis does not know."""
    moment = now()
    delivery = StoredDelivery(
        id=new_job_id(), tenant="default", url=url, event="job.succeeded", data={}, created_at=moment, begun_at=moment
    )
    Outbox(RedisClient(stack.settings), Bucket(stack.settings)).put(delivery)
    return delivery
