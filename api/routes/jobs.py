"""Jobs: submit, get, list, cancel, retry and delete them, and get their artifacts."""

import re
from typing import Annotated
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, request
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import get_services
from api.http.archive import stream_archive
from api.http.auth import caller
from api.http.files import stream_artifact, write_disposition
from api.http.openapi import ARCHIVE, BINARY, describes
from api.http.parsing import read_cancel_after, read_json, read_query, read_wait
from api.http.responses import make_job_response, make_json_response, read_cursor, write_cursor
from api.services.cancel_job import cancel
from api.services.delete_job import delete
from api.services.find_job import MAX_ARTIFACTS, find_artifact, find_job, find_manifest, page_artifacts
from api.services.follow_job import wait_for
from api.services.submit_job import retry, submit
from archetype.contract.api_key import Scope
from archetype.contract.job import Artifacts, Job, Jobs, State
from archetype.contract.request import Request

blueprint = Blueprint("jobs", __name__, url_prefix="/v1/jobs")

POSITION = re.compile(r"[0-9]{1,9}")
"""What the cursor of a list of artifacts contains: the number of artifacts before the page."""

PRESIGNED_SECONDS = 300
"""How long a presigned URL of an artifact is valid."""


class JobQuery(BaseModel):
    """The query string of the list of jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: State | None = Field(default=None, description="Only jobs in this state.")
    method: str | None = Field(default=None, description="Only jobs of this method.")
    model: str | None = Field(default=None, description="Only jobs of this model: `name` or `name@release`.")
    tag: str | None = Field(default=None, description="Only jobs with this tag.")
    limit: Annotated[int, Field(ge=1, le=200)] = Field(default=50, description="Maximum number of jobs on a page.")
    cursor: str | None = Field(default=None, max_length=100, description="`next_cursor` of the previous page.")


class ArtifactsQuery(BaseModel):
    """The query string of the list of artifacts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_ARTIFACTS)] = Field(
        default=200, description="Maximum number of artifacts on a page."
    )
    cursor: str | None = Field(default=None, max_length=100, description="`next_cursor` of the previous page.")


class ArtifactQuery(BaseModel):
    """The query string of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redirect: bool = Field(default=False, description="Redirect (302) to a presigned URL of the object store.")


@blueprint.post("")
@describes(
    "Submit a job",
    scope=Scope.SUBMIT,
    body=Request,
    responses={202: Job},
    headers={
        "Idempotency-Key": "Repeated requests with the same key and body return the same job, for one day.",
        "Cancel-After": "A duration such as `90s`, `15m` or `1h30m`. A job that has not ended by then is cancelled.",
        "Prefer": "`wait=N`: respond when the job has ended, or after N seconds.",
    },
    problems=(400, 411, 413, 415, 422, 429, 503),
)
def submit_job() -> Response:
    """Stores and enqueues a job. With `Prefer: wait=N`, waits for its result."""
    services = get_services()
    key, seconds = request.headers.get("Idempotency-Key"), read_cancel_after()
    job = submit(read_json(), services, caller(), idempotency_key=key, seconds=seconds)
    job = wait_for(job, services, read_wait(services.settings.max_wait_seconds))
    return make_job_response(job, 202, location=f"/v1/jobs/{job.id}")


@blueprint.get("/<job_id>")
@describes("Get a job", scope=Scope.READ, responses={200: Job, 304: None}, problems=(404, 410, 503))
def get_job(job_id: str) -> Response:
    """Returns the current state of a job. With `If-None-Match`, returns 304 while nothing has changed."""
    response = make_job_response(find_job(job_id, caller().tenant, get_services()))
    response.make_conditional(request)
    return response


@blueprint.get("")
@describes("List jobs", scope=Scope.READ, query=JobQuery, responses={200: Jobs}, problems=(422, 503))
def list_jobs() -> Response:
    """Lists jobs in pages, newest first. The `Link` header has the URL of the next page."""
    query = read_query(JobQuery)
    filters = query.model_dump(include={"state", "method", "model", "tag"}, exclude_none=True)
    jobs, last_id = get_services().job_list.page(
        caller().tenant, filters=filters, limit=query.limit, after=read_cursor(query.cursor)
    )
    cursor = write_cursor(last_id)
    return make_page(Jobs(items=jobs, next_cursor=cursor))


def make_page(page: Jobs | Artifacts) -> Response:
    """Returns a page as JSON, with the URL of the next one in the `Link` header."""
    response = make_json_response(page)
    if page.next_cursor:
        url = f"{request.path}?{urlencode(request.args.to_dict() | {'cursor': page.next_cursor})}"
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


@blueprint.post("/<job_id>/cancel")
@describes("Cancel a job", scope=Scope.SUBMIT, responses={202: Job}, problems=(404, 503))
def cancel_job(job_id: str) -> Response:
    """Cancels a job: a queued job immediately, a running one at its next step. A job that has ended does not change."""
    services = get_services()
    return make_job_response(cancel(find_job(job_id, caller().tenant, services), services), 202)


@blueprint.post("/<job_id>/retry")
@describes(
    "Retry a job",
    scope=Scope.SUBMIT,
    responses={202: Job},
    headers={"Idempotency-Key": "Repeated requests with the same key return the same new job, for one day."},
    problems=(404, 409, 410, 422, 429, 503),
)
def retry_job(job_id: str) -> Response:
    """Submits the request of a failed or cancelled job again, as a new job."""
    key = request.headers.get("Idempotency-Key")
    job = retry(job_id, get_services(), caller(), idempotency_key=key)
    return make_job_response(job, 202, location=f"/v1/jobs/{job.id}")


@blueprint.delete("/<job_id>")
@describes("Delete a job", scope=Scope.SUBMIT, responses={204: None}, problems=(404, 409, 503))
def delete_job(job_id: str) -> Response:
    """Deletes a job that has ended, with all its artifacts."""
    delete(job_id, caller().tenant, get_services())
    return Response(status=204)


@blueprint.get("/<job_id>/artifacts")
@describes(
    "List the artifacts of a job",
    scope=Scope.READ,
    query=ArtifactsQuery,
    responses={200: Artifacts},
    problems=(404, 410, 422, 503),
)
def list_artifacts(job_id: str) -> Response:
    """Lists the files of a job in pages. The `Link` header has the URL of the next page."""
    query = read_query(ArtifactsQuery)
    start = int(read_cursor(query.cursor, POSITION) or 0)
    job = find_job(job_id, caller().tenant, get_services())
    artifacts, following = page_artifacts(job, start=start, limit=query.limit)
    cursor = write_cursor(None if following is None else str(following))
    return make_page(Artifacts(items=artifacts, next_cursor=cursor))


@blueprint.get("/<job_id>/artifacts/<name>")
@describes(
    "Get an artifact",
    scope=Scope.READ,
    query=ArtifactQuery,
    responses={200: BINARY, 302: None, 304: None},
    problems=(404, 410, 422, 503),
)
def get_artifact(job_id: str, name: str) -> Response:
    """Streams the file. With `redirect=1`, redirects to a presigned URL of the object store instead."""
    query, services = read_query(ArtifactQuery), get_services()
    artifact, key = find_artifact(job_id, name, caller().tenant, services)
    if not query.redirect:
        return stream_artifact(artifact, key, services)
    disposition = write_disposition(artifact.name, artifact.media_type, sandbox=False)
    url = services.storage.bucket.presign(
        key, seconds=PRESIGNED_SECONDS, media_type=artifact.media_type, disposition=disposition
    )
    return redirect(url)  # type: ignore[return-value]


@blueprint.get("/<job_id>/archive")
@describes("Get all artifacts of a job", scope=Scope.READ, responses={200: ARCHIVE}, problems=(404, 410, 503))
def get_archive(job_id: str) -> Response:
    """Streams all artifacts of a job that has ended as a ZIP archive. Files of an image have the name of the image."""
    return stream_archive(find_manifest(job_id, caller().tenant, get_services()), get_services())
