"""How long results are kept: by age and by total size, the oldest first."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from ulid import ULID

from shared.errors import Newer
from shared.jobs import Manifest, now
from shared.records import Records
from shared.settings import Settings
from shared.storage import Storage

AUDIT = "audit"
"""Jobs with this tag are kept: an audit compares with what was."""

MOST_REMEMBERED = 1000
"""Jobs that Redis has forgotten, and that are made known to it again at a time."""

log = structlog.get_logger()


def expire(storage: Storage, records: Records, settings: Settings) -> list[str]:
    """Removes the results that were kept for long enough, and what is in the way of newer ones; their ids.

    What has not ended stays, and so does what belongs to an audit, and what only a newer version can read.
    """
    sizes = measure(storage)
    recount(sizes, storage, records)
    total, oldest = sum(sizes.values()), now() - timedelta(seconds=settings.retention_seconds)
    removed = []
    for job_id in sorted(sizes):
        too_much = settings.retention_bytes is not None and total > settings.retention_bytes
        if not too_much and moment_of(job_id) > oldest:
            break
        manifest = _find_manifest(job_id, storage)
        if manifest is None or AUDIT in manifest.job.tags:
            continue
        storage.expire_job(job_id)
        records.delete(manifest.job)
        total -= sizes[job_id]
        removed.append(job_id)
    if removed:
        log.info("jobs.expired", count=len(removed))
    forget_keys(storage, settings)
    return removed


def measure(storage: Storage) -> dict[str, int]:
    """Bytes of everything that is stored of each job."""
    sizes: Counter[str] = Counter()
    for each in storage.bucket.list("jobs/"):
        sizes[each.key.split("/")[1]] += each.bytes
    return dict(sizes)


def recount(sizes: Mapping[str, int], storage: Storage, records: Records) -> None:
    """Notes what every tenant has stored; jobs of which Redis has no record get one, and are in lists again."""
    stored: Counter[str] = Counter()
    remembered = 0
    for job_id, tenant in zip(sizes, records.tenants(list(sizes)), strict=True):
        if tenant is None and remembered < MOST_REMEMBERED:
            manifest = _find_manifest(job_id, storage)
            if manifest is not None:
                records.remember(manifest)
                tenant = manifest.job.tenant
            remembered += 1
        if tenant is not None:
            stored[tenant] += sizes[job_id]
    for kind in ("images/", "archives/"):
        for each in storage.bucket.list(kind):
            stored[each.key.split("/")[1]] += each.bytes
    records.set_stored(stored)


def _find_manifest(job_id: str, storage: Storage) -> Manifest | None:
    """What came of a job; None where it has not ended, or where that is for a newer version to read."""
    with suppress(Newer):
        return storage.load_manifest(job_id)
    return None


def forget_keys(storage: Storage, settings: Settings) -> None:
    """Removes idempotency keys that nobody may rely on any more."""
    oldest = now() - timedelta(seconds=settings.idempotency_seconds)
    for each in storage.bucket.list("keys/"):
        if each.modified < oldest:
            storage.bucket.delete(each.key)


def moment_of(job_id: str) -> datetime:
    """When a job was accepted; a name that is no id is as old as can be."""
    try:
        return ULID.from_str(job_id.upper()).datetime
    except ValueError:
        return datetime.min.replace(tzinfo=now().tzinfo)
