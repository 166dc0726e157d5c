"""Finds a job by its id, wherever it is written down."""

import re
from typing import NoReturn

from api.services import Services
from shared.bucket import Missing
from shared.errors import Gone, NotFound
from shared.jobs import Job, Manifest
from shared.rebuilding import rebuild

JOB_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")


def find_job(job_id: str, tenant: str, here: Services) -> Job:
    """The job: its manifest once it has ended, else its record.

    Raises:
        NotFound: There is none, or it is another tenant's.
        Gone: Its result was kept for as long as results are.
    """
    check_id(job_id)
    manifest = load_manifest(job_id, here)
    if manifest is None:
        job = here.records.find(job_id) or look_in_store(job_id, here)
        check_owner(job, tenant)
        if not job.state.terminal:
            return job
        manifest = load_manifest(job_id, here)  # it ended between the two looks; its record has not all of it
    if manifest is None:
        raise_missing(job_id, here)
    check_owner(manifest.job, tenant)
    return manifest.job


def find_manifest(job_id: str, tenant: str, here: Services) -> Manifest:
    """The manifest of a job that has ended. Raises as `find_job` does, also for one that has not."""
    job = find_job(job_id, tenant, here)
    manifest = load_manifest(job_id, here)
    if manifest is None:
        raise NotFound(f"job {job_id} is {job.state} and has no files yet; GET /v1/jobs/{job_id} says how far it is")
    return manifest


def load_manifest(job_id: str, here: Services) -> Manifest | None:
    """The manifest that the record names, or None while it names none. Raises `Gone` and `NotFound`."""
    fence = here.records.find_manifest(job_id)
    try:
        return here.manifests.get(job_id, fence) if fence else None
    except Missing:
        raise_missing(job_id, here)


def look_in_store(job_id: str, here: Services) -> Job:
    """A job that Redis does not know, with its record made again. Raises `NotFound` and `Gone`."""
    job = rebuild(job_id, here.records, here.claims, here.storage)
    if job is None:
        raise_missing(job_id, here)
    return job


def check_owner(job: Job, tenant: str) -> None:
    """Raises `NotFound`, in the words for a job that does not exist, unless it is this tenant's."""
    if job.tenant != tenant:
        raise missing(job.id)


def raise_missing(job_id: str, here: Services) -> NoReturn:
    """Raises `Gone` for what was there once, else `NotFound`."""
    if here.storage.has_expired(job_id):
        raise Gone(f"the result of job {job_id} was kept for as long as results are; run it again")
    raise missing(job_id)


def missing(job_id: str) -> NotFound:
    return NotFound(f"there is no job {job_id}; GET /v1/jobs lists those there are")


def check_id(job_id: str) -> None:
    """An id that could not be one must not become part of a key. Raises `NotFound`."""
    if not JOB_ID.fullmatch(job_id):
        raise NotFound(f"{job_id[:80]!r} is not the id of a job; GET /v1/jobs lists those there are")
