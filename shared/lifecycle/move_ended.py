"""Moves jobs from Redis into the history some minutes after they ended, so that they use no memory of Redis."""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice

import structlog

from shared.history.job_list import JobList, group_by_day
from shared.history.row import make_row
from shared.lifecycle.finish import NO_MANIFEST
from shared.settings import Settings
from shared.state.job_index import Ended
from shared.storage.job_store import JobStore

CHUNK = 20_000
"""Jobs that are in memory at the same time; those of one tenant and day are written together."""

PARALLEL = 8
"""Days that are written at the same time."""

log = structlog.get_logger()


def move_ended(storage: JobStore, job_list: JobList, settings: Settings, needed: Collection[str] = ()) -> int:
    """Moves the records of jobs that ended some minutes ago from Redis into the history.

    The row is written before the record is deleted. If this is interrupted, a job has both, and the next call moves it
    again. Jobs without a manifest stay in Redis, because nothing else tells that they have ended.

    Args:
        storage: The store.
        job_list: The records and the history.
        settings: Gives the time after which a job is moved.
        needed: Ids of jobs whose records are still needed.

    Returns:
        The number of jobs that were moved.
    """
    moment = job_list.job_index.redis_client.now() - timedelta(seconds=settings.history_seconds)
    due = (each for each in job_list.job_index.list_ended() if _is_due(each, moment) and each.job.id not in needed)
    moved = sum(_move(chunk, storage, job_list) for chunk in _divide(due))
    if moved:
        log.info("jobs.moved", count=moved)
    return moved


def _is_due(ended: Ended, moment: datetime) -> bool:
    return ended.fence != NO_MANIFEST and (ended.job.finished_at or ended.job.created_at) <= moment


def _divide(items: Iterable[Ended]) -> Iterator[list[Ended]]:
    items = iter(items)
    while chunk := list(islice(items, CHUNK)):
        yield chunk


def _move(chunk: list[Ended], storage: JobStore, job_list: JobList) -> int:
    """Moves some jobs, those of each tenant and day together. If one day fails, the others are moved first."""
    ended = {each.job.id: each for each in chunk}
    groups = group_by_day([each.job for each in chunk])

    def move_day(tenant: str, day: str) -> int:
        return _move_day(tenant, day, [ended[job.id] for job in groups[tenant, day]], storage, job_list)

    with ThreadPoolExecutor(PARALLEL) as pool:
        calls = [pool.submit(move_day, tenant, day) for tenant, day in groups]
    return sum(call.result() for call in calls)


def _move_day(tenant: str, day: str, ended: list[Ended], storage: JobStore, job_list: JobList) -> int:
    rows = [make_row(each.job, fence=each.fence, size=each.bytes) for each in ended]
    job_list.history.add(tenant, day, rows)
    without_record = job_list.job_index.forget_moved([each.job for each in ended])
    # Their records were deleted meanwhile, perhaps together with the jobs.
    deleted = [job.id for job in without_record if not storage.find_manifest_fence(job.id)]
    if deleted:
        job_list.history.remove(tenant, day, deleted)
    return len(ended)
