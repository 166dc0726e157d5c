"""Finds a job by its id, wherever it is written down."""

import re

from api.services import Services
from shared.errors import NotFound
from shared.jobs import Job, Manifest

JOB_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")


def find_job(job_id: str, here: Services) -> Job:
    """The job: its manifest once it has ended, else its record. Raises `NotFound`."""
    check_id(job_id)
    job = here.records.find(job_id)
    if job is not None and not job.state.terminal:
        return job
    manifest = here.storage.load_manifest(job_id)
    if manifest is None:
        raise NotFound(f"there is no job {job_id}; GET /v1/jobs lists those there are")
    if job is None:
        here.records.remember(manifest.job)
    return manifest.job


def find_manifest(job_id: str, here: Services) -> Manifest | None:
    """The manifest of a job that has ended. Raises `NotFound` for what could not be an id."""
    check_id(job_id)
    return here.storage.load_manifest(job_id)


def check_id(job_id: str) -> None:
    """An id that could not be one must not become part of a key. Raises `NotFound`."""
    if not JOB_ID.fullmatch(job_id):
        raise NotFound(f"{job_id[:80]!r} is not the id of a job; GET /v1/jobs lists those there are")
