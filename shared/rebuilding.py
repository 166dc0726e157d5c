"""When Redis forgets: a job's record, made again from what the store knows of it."""

from collections.abc import Iterator

import structlog
from pydantic import ValidationError
from ulid import ULID

from shared.bucket import Missing, read_document
from shared.claims import Claims
from shared.errors import InvalidRequest, MalformedJSON, NotFound
from shared.jobs import Job, Order, now
from shared.records import Records
from shared.storage import Storage

BEING_BORN_SECONDS = 600
"""A job that is open and has no request for longer will never have one: whoever was to accept it died."""

log = structlog.get_logger()


def load_order(storage: Storage, job_id: str) -> Order:
    """What was accepted.

    Raises:
        NotFound: It is gone.
        Newer: A newer version has accepted it: workers of that version can work on it.
        MalformedJSON: It is no JSON.
        InvalidRequest: It is no order.
    """
    try:
        return read_document(storage.load_order(job_id), Order)
    except Missing as error:
        raise NotFound("the stored request is gone; submit the job again") from error
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedJSON(f"the stored request is not JSON: {error.errors()[0]['msg']}") from error
        raise InvalidRequest("the stored request is none that this version can read; submit the job again") from error


def rebuild(job_id: str, records: Records, claims: Claims, storage: Storage) -> Job | None:
    """The job, with its record as it ought to be; None where the store knows nothing of it.

    A job that has not ended is queued again, with those of its shares that have not.
    """
    manifest = storage.load_manifest(job_id)
    if manifest is not None:
        records.remember(manifest)
        storage.close(job_id)
        return manifest.job
    try:
        order = load_order(storage, job_id)
    except NotFound:
        return None
    ended = set(_list_ended(job_id, order, storage))
    if claims.create(job_id, order, fence=storage.highest_fence(job_id), ended=ended):
        log.warning("job.rebuilt", job_id=job_id)
    return order.job(job_id)


def _list_ended(job_id: str, order: Order, storage: Storage) -> Iterator[int]:
    if len(order.shares) > 1:
        yield from (number for number in range(len(order.shares)) if storage.load_part(job_id, number) is not None)


def is_stillborn(job_id: str) -> bool:
    """Whether a job that is open and has no request is so old that it will never have one."""
    return (now() - ULID.from_str(job_id.upper()).datetime).total_seconds() > BEING_BORN_SECONDS
