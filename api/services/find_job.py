"""Finds jobs and their artifacts by id: in the manifest, in Redis, or rebuilt from the store."""

import re
from typing import NamedTuple, NoReturn

from api.dependencies import Services
from archetype.contract.job import Artifact, Job
from shared.errors import Gone, NotFound
from shared.lifecycle.finish import NO_MANIFEST
from shared.lifecycle.rebuild import rebuild
from shared.storage.documents import Manifest
from shared.storage.s3 import Missing

JOB_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")

MAX_ARTIFACTS = 1000
"""Largest number of artifacts in the document of a job, and on a page of the list."""


class StoredArtifact(NamedTuple):
    """An artifact and the key of its file in the bucket."""

    artifact: Artifact
    key: str


def find_job(job_id: str, tenant: str, services: Services) -> Job:
    """Returns a job: from its manifest if it has ended, else from its record.

    Raises:
        NotFound: The tenant has no such job.
        Gone: The result has expired.
    """
    check_id(job_id)
    manifest = load_manifest(job_id, tenant, services)
    if manifest is None:
        job = services.job_index.find(job_id) or restore_job(job_id, tenant, services)
        check_owner(job, tenant)
        if not job.state.terminal:
            return job
        # It ended between the two reads, and the record lacks its artifacts.
        manifest = load_manifest(job_id, tenant, services)
        if manifest is None and services.job_index.find_manifest_fence(job_id) == NO_MANIFEST:
            return job  # the store refused its manifest
    if manifest is None:
        raise_missing(job_id, tenant, services)
    check_owner(manifest.job, tenant)
    return manifest.job


def find_manifest(job_id: str, tenant: str, services: Services) -> Manifest:
    """Returns the manifest of a job that has ended. Raises the problems of `find_job`, also if it has not ended."""
    job = find_job(job_id, tenant, services)
    manifest = load_manifest(job_id, tenant, services)
    if manifest is None:
        raise NotFound(f"job {job_id} is {job.state} and has no files yet; GET /v1/jobs/{job_id} returns its progress")
    return manifest


def find_artifact(job_id: str, name: str, tenant: str, services: Services) -> StoredArtifact:
    """Returns an artifact of a job that has ended. Raises `NotFound` and `Gone`."""
    manifest = find_manifest(job_id, tenant, services)
    artifact = next((artifact for artifact in manifest.job.artifacts if artifact.name == name), None)
    if artifact is None:
        raise NotFound(f"job {job_id} has no artifact {name[:200]!r}; GET /v1/jobs/{job_id} lists its artifacts")
    return StoredArtifact(artifact, manifest.keys[name])


def order_artifacts(job: Job) -> list[Artifact]:
    """Returns the artifacts of a job: first those of the whole job, then the others in the order of the job."""
    return sorted(job.artifacts, key=lambda artifact: artifact.target is not None or artifact.image is not None)


def shorten(job: Job) -> Job:
    """Returns the job with its first artifacts and a link to the list, if it has more than `MAX_ARTIFACTS`."""
    if len(job.artifacts) <= MAX_ARTIFACTS:
        return job
    links = job.links | {"all_artifacts": f"/v1/jobs/{job.id}/artifacts"}
    return job.model_copy(update={"artifacts": order_artifacts(job)[:MAX_ARTIFACTS], "links": links})


def page_artifacts(job: Job, *, start: int, limit: int) -> tuple[list[Artifact], int | None]:
    """Returns a page of the artifacts of a job, and where the next page starts; None if this is the last page."""
    artifacts = order_artifacts(job)
    stop = start + limit
    return artifacts[start:stop], stop if stop < len(artifacts) else None


def load_manifest(job_id: str, tenant: str, services: Services) -> Manifest | None:
    """Returns the manifest of a job that has ended; None if there is none. Raises `Gone` and `NotFound`.

    The record names the manifest. If the record was moved into the history, or Redis has lost it, the store is listed.
    """
    fence = services.job_index.find_manifest_fence(job_id)
    if fence is None:
        fence = services.storage.find_manifest_fence(job_id)
    try:
        return services.manifests.get(job_id, fence) if fence else None
    except Missing:
        raise_missing(job_id, tenant, services)


def restore_job(job_id: str, tenant: str, services: Services) -> Job:
    """Rebuilds the record of a job that Redis does not know, from the store. Raises `NotFound` and `Gone`."""
    job = rebuild(job_id, services.job_index, services.claims, services.storage)
    if job is None:
        raise_missing(job_id, tenant, services)
    return job


def check_owner(job: Job, tenant: str) -> None:
    """Raises `NotFound`, with the same text as for an unknown job, if the job is another tenant's."""
    if job.tenant != tenant:
        raise make_missing_problem(job.id)


def raise_missing(job_id: str, tenant: str, services: Services) -> NoReturn:
    """Raises `Gone` if the result of the tenant's job has expired, else `NotFound`."""
    if services.storage.has_expired(job_id, tenant):
        raise Gone(f"the result of job {job_id} has expired and was deleted; submit the job again")
    raise make_missing_problem(job_id)


def make_missing_problem(job_id: str) -> NotFound:
    """Returns the problem of an unknown job."""
    return NotFound(f"there is no job {job_id}; GET /v1/jobs lists your jobs")


def check_id(job_id: str) -> None:
    """Raises `NotFound` if a text is not a valid job id: it must not become part of a key."""
    if not JOB_ID.fullmatch(job_id):
        raise NotFound(f"{job_id[:80]!r} is not a job id; GET /v1/jobs lists your jobs")
