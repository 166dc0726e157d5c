"""Rebuilds the records of jobs in Redis from the store, after Redis has lost them."""

from datetime import datetime

import structlog
from pydantic import ValidationError

from archetype.contract.job import Job
from shared.errors import InvalidRequest, MalformedJSON, NotFound
from shared.queue.claims import Claims
from shared.state.job_ids import created_at
from shared.state.job_index import JobIndex
from shared.storage.documents import JobSpec
from shared.storage.job_store import JobStore
from shared.storage.s3 import Missing, read_document

MAX_SUBMISSION_SECONDS = 600
"""If an open job has no request after this time, the process that accepted it stopped before it stored the request."""

log = structlog.get_logger()


def load_spec(storage: JobStore, job_id: str) -> JobSpec:
    """The accepted request of a job.

    Raises:
        NotFound: The request was deleted.
        UnsupportedFormat: A newer version of the service wrote the request; workers of that version can run the job.
        MalformedJSON: The stored document is not JSON.
        InvalidRequest: The stored document is not a request.
    """
    try:
        return read_document(storage.load_spec(job_id), JobSpec)
    except Missing as error:
        raise NotFound("the stored request is gone; submit the job again") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise MalformedJSON(f"the stored request is not JSON: {first['msg']}") from error
        raise InvalidRequest("this version cannot read the stored request; submit the job again") from error


def rebuild(job_id: str, job_index: JobIndex, claims: Claims, storage: JobStore) -> Job | None:
    """Writes the record of a job again. An unfinished job is queued, with those of its shards that have not finished.

    A finished job gets a record only if it is still marked as open: it ended a moment ago, and is not in the history.

    Args:
        job_id: The job.
        job_index: Gets the record of a finished job.
        claims: Gets the record and the shards of an unfinished job.
        storage: The store.

    Returns:
        The job, or None if the store does not have it.
    """
    manifest = storage.load_manifest(job_id)
    if manifest is not None:
        if storage.is_open(job_id):
            job_index.save_finished(manifest)
            storage.close(job_id)
        return manifest.job
    try:
        spec = load_spec(storage, job_id)
    except NotFound:
        return None
    ended = set(storage.find_shard_results(job_id)) if len(spec.shards) > 1 else set[int]()
    if claims.create(job_id, spec, fence=storage.highest_fence(job_id), ended=ended):
        log.warning("job.rebuilt", job_id=job_id)
    return spec.job(job_id)


def is_abandoned_submission(job_id: str, moment: datetime) -> bool:
    """Whether an open job without a request is so old at a moment that its request will never be stored."""
    return (moment - created_at(job_id)).total_seconds() > MAX_SUBMISSION_SECONDS
