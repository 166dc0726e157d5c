"""Deletes old results: by age and, for each tenant, by size, the oldest first."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from archetype.contract.job import now
from shared.errors import ObjectRefused, UnsupportedFormat
from shared.lifecycle.audit_membership import AuditMembership
from shared.settings import Settings
from shared.state.job_ids import created_at
from shared.state.job_index import JobIndex
from shared.storage import layout
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore

MAX_REINDEXED = 1000
"""Jobs without a record in Redis that get one in a single run."""

log = structlog.get_logger()


def expire(storage: JobStore, job_index: JobIndex, settings: Settings) -> list[str]:
    """Deletes results that are older than the retention time, and the oldest ones of tenants that store too much.

    A tenant stores too much if its results exceed the maximum of one tenant, or if all results exceed the maximum of
    all tenants and its results exceed an equal share. Results of other tenants are not deleted for it.

    Unfinished jobs, jobs of audits, and manifests that only a newer version can read are kept.

    Args:
        storage: The store.
        job_index: The records of the jobs.
        settings: Gives the retention time, the size limits and the lifetime of idempotency keys.

    Returns:
        The ids of the deleted jobs.
    """
    sizes = measure_jobs(storage)
    owners = find_owners(sizes, storage, job_index)
    update_usage(sizes, owners, storage, job_index)
    usage = add_up(sizes, owners)
    is_complete = len(sizes) - len(owners) < MAX_REINDEXED
    membership = AuditMembership(storage, job_index, list(usage), is_complete=is_complete)
    oldest, limit = now() - timedelta(seconds=settings.retention_seconds), find_limit(usage, settings)
    deleted = []
    for job_id in sorted(sizes):
        is_over_limit = job_id in owners and usage[owners[job_id]] > limit
        if not is_over_limit and _find_creation_time(job_id) > oldest:
            continue
        manifest = _find_manifest(job_id, storage)
        if manifest is None or membership.includes(manifest.job):
            continue
        storage.expire_job(job_id, manifest.job.tenant)
        job_index.delete(manifest.job)
        usage[manifest.job.tenant] -= sizes[job_id]
        deleted.append(job_id)
    if deleted:
        log.info("jobs.expired", count=len(deleted))
    delete_idempotency_keys(storage, settings)
    return deleted


def find_limit(usage: Mapping[str, int], settings: Settings) -> float:
    """The number of bytes to which the results of each tenant are reduced."""
    quota = math.inf if settings.tenant_retention_bytes is None else settings.tenant_retention_bytes
    if settings.retention_bytes is None:
        return quota
    return min(quota, find_fair_share([min(used, quota) for used in usage.values()], settings.retention_bytes))


def find_fair_share(usage: Sequence[float], total: float) -> float:
    """The largest share for which the sum of all usage, each reduced to at most the share, does not exceed a total.

    Tenants that use less leave the rest of their share to the others.
    """
    left = total
    for position, used in enumerate(sorted(usage)):
        share = left / (len(usage) - position)
        if used > share:
            return share
        left -= used
    return math.inf


def _find_creation_time(job_id: str) -> datetime:
    """When a job was created. A name that is not a job id counts as the oldest, so that it does not end the search."""
    try:
        return created_at(job_id)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def measure_jobs(storage: JobStore) -> dict[str, int]:
    """Bytes of all objects of each job."""
    sizes: Counter[str] = Counter()
    for stored in storage.bucket.list(layout.JOBS):
        sizes[stored.key.split("/")[1]] += stored.bytes
    return dict(sizes)


def find_owners(job_ids: Collection[str], storage: JobStore, job_index: JobIndex) -> dict[str, str]:
    """The tenant of each job, without jobs whose tenant is not known. Finished jobs without a record get one."""
    owners: dict[str, str] = {}
    reindexed = 0
    for job_id, tenant in zip(job_ids, job_index.tenants(list(job_ids)), strict=True):
        if tenant is None and reindexed < MAX_REINDEXED:
            manifest = _find_manifest(job_id, storage)
            if manifest is not None:
                job_index.save_finished(manifest)
                tenant = manifest.job.tenant
            reindexed += 1
        if tenant is not None:
            owners[job_id] = tenant
    return owners


def add_up(sizes: Mapping[str, int], owners: Mapping[str, str]) -> Counter[str]:
    """Bytes of the jobs of each tenant."""
    usage: Counter[str] = Counter()
    for job_id, tenant in owners.items():
        usage[tenant] += sizes[job_id]
    return usage


def update_usage(sizes: Mapping[str, int], owners: Mapping[str, str], storage: JobStore, job_index: JobIndex) -> None:
    """Counts the stored bytes of each tenant again: its results and its uploads."""
    usage = add_up(sizes, owners)
    for prefix in (layout.IMAGES, layout.ARCHIVES, layout.WEIGHTS):
        for stored in storage.bucket.list(prefix):
            _, tenant, *rest = stored.key.split("/")
            if rest:  # weights of the operator are under no tenant
                usage[tenant] += stored.bytes
    job_index.set_stored(usage)


def _find_manifest(job_id: str, storage: JobStore) -> Manifest | None:
    """The manifest of a job; None if it has not finished, only a newer version can read it, or the store refuses it."""
    with suppress(UnsupportedFormat, ObjectRefused):
        return storage.load_manifest(job_id)
    return None


def delete_idempotency_keys(storage: JobStore, settings: Settings) -> None:
    """Deletes idempotency keys whose lifetime has ended."""
    oldest = now() - timedelta(seconds=settings.idempotency_seconds)
    for stored in storage.bucket.list(layout.IDEMPOTENCY_KEYS):
        if stored.modified < oldest:
            storage.bucket.delete(stored.key)
