"""Deletes old results: by age and, for each tenant, by size, the oldest first."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import structlog

from archetype.contract.job import Job
from shared.history.job_list import JobList
from shared.lifecycle.audit_membership import AuditMembership
from shared.lifecycle.fill_history import add_ended, find_manifest, remove_deleted
from shared.lifecycle.parallel import BATCH, run_parallel
from shared.settings import Settings
from shared.state.job_ids import created_at
from shared.state.job_index import JobIndex
from shared.storage import layout
from shared.storage.job_store import JobStore

MAX_REINDEXED = 10_000
"""Jobs that a single run adds to the history. `fill_history` adds most of them before."""

UNNAMED_SECONDS = 3600
"""A segment of the history that no header names after this time was left by an interrupted change."""

MAX_EXPIRED = 20_000
"""Old jobs that one search looks at. The next one continues."""

log = structlog.get_logger()


def expire_old(storage: JobStore, job_list: JobList, settings: Settings, kept: set[str]) -> list[str]:
    """Deletes results that are older than the retention time, the oldest first.

    It lists old jobs only: ids begin with the time of acceptance. Jobs of audits are kept, and so are those of earlier
    versions that may belong to an audit, which `expire` finds out.

    Args:
        storage: The store.
        job_list: The records and the history of the jobs.
        settings: Gives the retention time.
        kept: Ids of jobs of audits, which are not read again; the function adds those that it finds.

    Returns:
        The ids of the deleted jobs.
    """
    oldest = job_list.job_index.redis_client.now() - timedelta(seconds=settings.retention_seconds)
    membership = AuditMembership(storage, job_list, [], is_complete=False)

    def expire_one(job_id: str) -> Job | None:
        manifest = find_manifest(job_id, storage)
        if manifest is None or _find_end(manifest.job) > oldest:
            return None
        if membership.includes(manifest.job):
            kept.add(job_id)
            return None
        return _delete_job(manifest.job, storage)

    old = takewhile(lambda job_id: _find_creation_time(job_id) <= oldest, storage.list_jobs())
    # Listed before anything is deleted. A store can list a folder twice if the one before was deleted meanwhile.
    job_ids = dict.fromkeys(islice((job_id for job_id in old if job_id not in kept), MAX_EXPIRED))
    deleted = (job for job in run_parallel(expire_one, job_ids) if job is not None)
    return _remove_from_lists(deleted, job_list)


def _delete_job(job: Job, storage: JobStore) -> Job:
    storage.expire_job(job.id, job.tenant)
    return job


def _remove_from_lists(jobs: Iterable[Job], job_list: JobList) -> list[str]:
    """Removes deleted jobs from all lists, some at a time, because those of one day are removed together."""
    job_ids: list[str] = []
    batch: list[Job] = []
    try:
        for job in jobs:
            batch.append(job)
            job_ids.append(job.id)
            if len(batch) >= BATCH:
                job_list.delete(batch)
                batch = []
    finally:
        job_list.delete(batch)
    if job_ids:
        log.info("jobs.expired", count=len(job_ids))
    return job_ids


def expire(storage: JobStore, job_list: JobList, settings: Settings) -> list[str]:
    """Deletes results that are older than the retention time, and the oldest ones of tenants that store too much.

    The retention time begins when a job ends, however long it waited and ran.

    A tenant stores too much if its results exceed the maximum of one tenant, or if all results exceed the maximum of
    all tenants and its results exceed an equal share. Results of other tenants are not deleted for it.

    Unfinished jobs, jobs of audits, and manifests that only a newer version can read are kept.

    Args:
        storage: The store.
        job_list: The records and the history of the jobs.
        settings: Gives the retention time, the size limits and the lifetime of idempotency keys.

    Returns:
        The ids of the deleted jobs.
    """
    moved = dict(job_list.history.list_owners())  # before the listing: a job that is only here was deleted
    sizes = measure_jobs(storage)
    remove_deleted(moved.keys() - sizes.keys(), storage, job_list)
    owners = find_owners(sizes, moved, storage, job_list)
    update_usage(sizes, owners, storage, job_list.job_index)
    job_list.job_index.set_history(job_list.history.count_states())
    usage = add_up(sizes, owners)
    is_complete = len(sizes) - len(owners) < MAX_REINDEXED
    membership = AuditMembership(storage, job_list, list(usage), is_complete=is_complete)
    moment, limit = job_list.job_index.redis_client.now(), find_limit(usage, settings)
    oldest = moment - timedelta(seconds=settings.retention_seconds)

    def choose() -> Iterator[Job]:
        for job_id in sorted(sizes):
            is_over_limit = job_id in owners and usage[owners[job_id]] > limit
            if not is_over_limit and _find_creation_time(job_id) > oldest:
                continue
            manifest = find_manifest(job_id, storage)
            if manifest is None or not (is_over_limit or _find_end(manifest.job) <= oldest):
                continue
            if membership.includes(manifest.job):
                continue
            usage[manifest.job.tenant] -= sizes[job_id]
            yield manifest.job

    deleted = _remove_from_lists(run_parallel(lambda job: _delete_job(job, storage), choose()), job_list)
    delete_older(layout.IDEMPOTENCY_KEYS, storage, moment - timedelta(seconds=settings.idempotency_seconds))
    delete_older(layout.SEARCHES, storage, oldest)
    job_list.history.delete_unnamed(moment - timedelta(seconds=UNNAMED_SECONDS))
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


def _find_end(job: Job) -> datetime:
    return job.finished_at or job.created_at


def measure_jobs(storage: JobStore) -> dict[str, int]:
    """Bytes of all objects of each job."""
    sizes: Counter[str] = Counter()
    for stored in storage.bucket.list(layout.JOBS):
        sizes[stored.key.split("/")[1]] += stored.bytes
    return dict(sizes)


def find_owners(
    job_ids: Collection[str], moved: Mapping[str, str], storage: JobStore, job_list: JobList
) -> dict[str, str]:
    """The tenant of each job, without jobs whose tenant is not known.

    Ended jobs that are neither in Redis nor in the history are added to the history.

    Args:
        job_ids: The jobs.
        moved: The tenants of jobs in the history.
        storage: The store.
        job_list: The records and the history of the jobs.
    """
    owners = {job_id: moved[job_id] for job_id in job_ids if job_id in moved}
    others = [job_id for job_id in job_ids if job_id not in moved]
    tenants = dict(zip(others, job_list.job_index.tenants(others), strict=True))
    owners |= {job_id: tenant for job_id, tenant in tenants.items() if tenant is not None}
    missing = [job_id for job_id, tenant in tenants.items() if tenant is None]
    return owners | add_ended(missing[:MAX_REINDEXED], storage, job_list)


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


def delete_older(prefix: str, storage: JobStore, oldest: datetime) -> None:
    """Deletes the objects under a prefix that were stored before a moment."""
    listed = storage.bucket.list(prefix)
    storage.bucket.delete_all([stored.key for stored in listed if stored.modified < oldest])
