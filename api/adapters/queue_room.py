"""Room in the queue: how many jobs may wait in total and of one tenant, shards of a tenant, and memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.adapters.rate_limits import RETRY_SECONDS
from api.dependencies import Services
from archetype.contract.problem import FieldError
from shared.errors import LimitReached, MemoryFull, QueueFull

LARGEST_PART = 9
"""A tenant may have so many times as many queued jobs as there is room for. With this dynamic threshold (Choudhury and
Hahne 1998), n tenants that queue all they can leave room for one job in 9n + 1, without a list of tenants."""


@contextmanager
def hold_room(tenant: str, shards: int, services: Services) -> Iterator[None]:
    """Checks that the queue has room for a submission, and counts its shards for the length of a `with` block.

    Args:
        tenant: Tenant that submits.
        shards: Number of shards of the submission.
        services: The services.

    Raises:
        QueueFull: Too many jobs of all tenants wait, or too many of this tenant for the room that is left.
        MemoryFull: The memory of Redis is nearly full.
        LimitReached: The tenant has too many shards in unfinished jobs.
    """
    check_memory(services)
    check_queue(tenant, services)
    with services.admission.hold(f"{tenant}:shards", shards) as others:
        check_shards(tenant, shards + others, services)
        yield


def check_memory(services: Services) -> None:
    """Raises `MemoryFull` if so much of the memory of Redis is used that the rest is kept for accepted jobs."""
    share, limit = services.redis_memory.read_share(), services.settings.redis_memory_watermark
    if share > limit:
        raise MemoryFull(
            f"{share:.0%} of the memory of the queue (Redis) is used, and new work is accepted up to {limit:.0%}; try "
            "again later, or delete jobs; operators: raise maxmemory, or lower ARCHETYPE_RETENTION_SECONDS"
        )


def check_queue(tenant: str, services: Services) -> None:
    """Raises `QueueFull` if the queue is full, or nearly full and the tenant has more than its part."""
    limit = services.settings.max_queued_jobs
    total, own = services.job_index.count_queued(tenant)
    if total >= limit:
        raise QueueFull(f"{total} jobs are queued, and the maximum is {limit}; try again later")
    if own >= LARGEST_PART * (limit - total):
        raise QueueFull(
            f"this tenant has {own} queued jobs, and the {limit - total} places that are left of {limit} are kept for "
            "other tenants; try again later"
        )


def check_shards(tenant: str, added: int, services: Services) -> None:
    """Raises `LimitReached` if a tenant has too many shards in unfinished jobs for this many more."""
    limit, used = services.settings.max_tenant_shards, services.job_index.count_shards(tenant)
    if used + added > limit:
        field = FieldError(field="max_tenant_shards", detail="the limit of a tenant", given=used + added, allowed=limit)
        problem = LimitReached(
            f"this tenant has {used} shards in unfinished jobs, and {added} more would exceed the limit of {limit} "
            "(max_tenant_shards); try again when jobs have ended, or submit smaller ones",
            field,
        )
        problem.retry_after = RETRY_SECONDS
        raise problem
