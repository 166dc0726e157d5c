"""Adds ended jobs to the history that are neither there nor in Redis.

They are those in a store of an earlier version, and those that had not been moved when Redis lost its data.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from itertools import islice

import structlog
from pydantic import ValidationError

from shared.errors import ObjectRefused, UnsupportedFormat
from shared.history.job_list import JobList, group_by_day
from shared.history.row import make_row
from shared.lifecycle.parallel import run_parallel
from shared.state.job_ids import first_id
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore

CHUNK = 5000
"""Jobs that are compared at the same time."""

MAX_ADDED = 5000
"""Jobs that one call adds. The next one continues."""

COMPLETE = "~"
"""The position after all jobs: it sorts after every id."""

log = structlog.get_logger()


def fill_history(storage: JobStore, job_list: JobList) -> int:
    """Compares the jobs in the store with those in Redis and in the history, once after Redis was empty.

    The jobs of today and yesterday come first, then all others from the oldest.

    Args:
        storage: The store.
        job_list: The records and the history.

    Returns:
        The number of jobs that were added to the history.
    """
    job_index = job_list.job_index
    position, added = job_index.find_history_position(), 0
    if position is None:
        yesterday = first_id((job_index.redis_client.now() - timedelta(days=1)).date().isoformat())
        added, position = add_missing(storage.list_jobs(yesterday), storage, job_list), ""
        job_index.set_history_position(position)
    while position != COMPLETE and added < MAX_ADDED:
        job_ids = list(islice(storage.list_jobs(position), CHUNK))
        added += add_missing(job_ids, storage, job_list)
        position = job_ids[-1] if len(job_ids) == CHUNK else COMPLETE
        job_index.set_history_position(position)
    if added:
        log.info("history.filled", count=added)
    return added


def add_missing(job_ids: Iterable[str], storage: JobStore, job_list: JobList) -> int:
    """Adds those of some jobs to the history that have ended and are neither there nor in Redis; returns their number.

    Args:
        job_ids: Ids of jobs in the store.
        storage: The store.
        job_list: The records and the history.
    """
    names = list(job_ids)
    known = job_list.history.find_owners(names)
    unknown = [name for name in names if name not in known]
    tenants = job_list.job_index.tenants(unknown)
    return len(
        add_ended((name for name, tenant in zip(unknown, tenants, strict=True) if tenant is None), storage, job_list)
    )


def add_ended(job_ids: Iterable[str], storage: JobStore, job_list: JobList) -> dict[str, str]:
    """Adds those of some jobs to the history that have ended; returns their tenants.

    Args:
        job_ids: Ids of jobs in the store.
        storage: The store.
        job_list: The records and the history.
    """
    manifests = run_parallel(lambda job_id: find_manifest(job_id, storage), job_ids)
    rows = {each.job.id: make_row(each.job, fence=each.fence, size=each.job.bytes) for each in manifests if each}
    jobs = [row.job for row in rows.values()]
    for (tenant, day), group in group_by_day(jobs).items():
        job_list.history.add(tenant, day, [rows[job.id] for job in group])
    return {job.id: job.tenant for job in jobs}


def remove_deleted(job_ids: Collection[str], storage: JobStore, job_list: JobList) -> None:
    """Removes those of some jobs from the history whose deletion was interrupted: the store no longer has them.

    Args:
        job_ids: Ids of jobs in the history that were not found in the store.
        storage: The store.
        job_list: The records and the history.
    """
    gone = [job_id for job_id in job_ids if not storage.find_manifest_fence(job_id)]
    owners = job_list.history.find_owners(gone)
    for job_id, tenant in owners.items():
        job = job_list.history.find(tenant, job_id)
        if job is not None:
            job_list.delete([job])


def find_manifest(job_id: str, storage: JobStore) -> Manifest | None:
    """The manifest of a job; None if it has not finished, this version cannot read it, or the store refuses it."""
    try:
        return storage.load_manifest(job_id)
    except (UnsupportedFormat, ObjectRefused, ValidationError) as error:
        log.warning("retention.unreadable", job_id=job_id, error=str(error)[:300])
    return None
