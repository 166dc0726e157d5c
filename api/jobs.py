"""Jobs over HTTP: submit, look, list, cancel, delete, and fetch what came out."""

import base64
import binascii
import hashlib
import time
from typing import Annotated, Any
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, request
from pydantic import BaseModel, ConfigDict, Field

from api.access import caller
from api.body import read_json, read_query, read_wait
from api.lookup import JOB_ID, check_id, find_job, find_manifest
from api.openapi import BINARY, describes
from api.services import Services, services
from api.submission import read_cancel_after, submit
from shared.access import Scope
from shared.bucket import Missing
from shared.claims import ClaimLost
from shared.counters import count
from shared.ending import end_job, ended
from shared.errors import FieldError, InvalidRequest, NotFinished, NotFound
from shared.jobs import Artifact, Job, Jobs, State
from shared.methods import Request
from shared.rebuilding import load_order

blueprint = Blueprint("jobs", __name__, url_prefix="/v1/jobs")

POLL_SECONDS = 0.1
PRESIGNED_SECONDS = 300


class JobQuery(BaseModel):
    """How to list jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: State | None = Field(default=None, description="Only jobs in this state.")
    method: str | None = Field(default=None, description="Only jobs of this method.")
    model: str | None = Field(default=None, description="Only jobs of this model: `name` or `name@release`.")
    tag: str | None = Field(default=None, description="Only jobs with this tag.")
    limit: Annotated[int, Field(ge=1, le=200)] = Field(default=50, description="Most jobs on a page.")
    cursor: str | None = Field(default=None, max_length=100, description="`next_cursor` of the page before.")


class ArtifactQuery(BaseModel):
    """How to fetch an artefact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redirect: bool = Field(default=False, description="Answer 302 to a presigned URL of the object store.")


@blueprint.post("")
@describes(
    "Submit a job",
    scope=Scope.SUBMIT,
    body=Request,
    answers={202: Job},
    headers={
        "Idempotency-Key": "The same key and body return the same job for a day.",
        "Cancel-After": "`90s`, `15m`, `1h30m`: if it has not ended by then, it is cancelled.",
        "Prefer": "`wait=N`: answer when the job has ended, or after N seconds.",
    },
    problems=(400, 411, 413, 415, 422, 429, 503),
)
def submit_job() -> Response:
    """Answers once the request is stored and enqueued."""
    here = services()
    key, seconds = request.headers.get("Idempotency-Key"), read_cancel_after(request.headers.get("Cancel-After"))
    job = submit(read_json(), here, caller(), idempotency_key=key, seconds=seconds)
    waited = wait_for(job, here, read_wait(here.settings.max_wait_seconds))
    answer = _answer(waited, status=202)
    answer.headers["Location"] = f"/v1/jobs/{job.id}"
    return answer


@blueprint.get("/<job_id>")
@describes("Get a job", scope=Scope.READ, answers={200: Job, 304: None}, problems=(404, 410, 503))
def get_job(job_id: str) -> Response:
    """The job as it stands. With `If-None-Match`, 304 while nothing has changed."""
    answer = _answer(find_job(job_id, caller().tenant, services()))
    answer.make_conditional(request)
    return answer


@blueprint.get("")
@describes("List jobs", scope=Scope.READ, query=JobQuery, answers={200: Jobs}, problems=(422, 503))
def list_jobs() -> Response:
    """Newest first, a page at a time; `Link` names the next page."""
    query = read_query(JobQuery)
    filters = query.model_dump(include={"state", "method", "model", "tag"}, exclude_none=True)
    after = read_cursor(query.cursor) if query.cursor else None
    jobs, last = services().records.page(caller().tenant, filters=filters, limit=query.limit, after=after)
    cursor = write_cursor(last) if last else None
    answer = _json(Jobs(items=jobs, next_cursor=cursor))
    if cursor:
        url = _same_url(request.args.to_dict() | {"cursor": cursor})
        answer.headers["Link"] = f'<{url}>; rel="next"'
    return answer


@blueprint.post("/<job_id>/cancel")
@describes("Cancel a job", scope=Scope.SUBMIT, answers={202: Job}, problems=(404, 503))
def cancel_job(job_id: str) -> Response:
    """A queued job ends at once, a running one at its next step; one that has ended stays as it is."""
    return _answer(cancel(find_job(job_id, caller().tenant, services()), services()), status=202)


@blueprint.post("/<job_id>/retry")
@describes(
    "Try a job again",
    scope=Scope.SUBMIT,
    answers={202: Job},
    headers={"Idempotency-Key": "The same key returns the same new job for a day."},
    problems=(404, 409, 410, 422, 429, 503),
)
def retry_job(job_id: str) -> Response:
    """A new job with the request of one that has failed or was cancelled."""
    here = services()
    job = find_job(job_id, caller().tenant, here)
    if job.state not in (State.FAILED, State.CANCELLED):
        raise NotFinished(f"job {job_id} is {job.state}; only what failed or was cancelled can be tried again")
    body = load_order(here.storage, job_id).request
    fresh = submit(body, here, caller(), idempotency_key=request.headers.get("Idempotency-Key"), retry_of=job_id)
    count(here.records, "archetype_jobs_retried")
    answer = _answer(fresh, status=202)
    answer.headers["Location"] = f"/v1/jobs/{fresh.id}"
    return answer


@blueprint.delete("/<job_id>")
@describes("Delete a job", scope=Scope.SUBMIT, answers={204: None}, problems=(404, 409, 503))
def delete_job(job_id: str) -> Response:
    """Removes a job that has ended, and all that it made."""
    here = services()
    check_id(job_id)
    # The record knows the job even where an earlier attempt to delete it got as far as its manifest.
    job = here.records.find(job_id)
    if job is None or job.tenant != caller().tenant:
        job = find_job(job_id, caller().tenant, here)
    if not job.state.terminal:
        raise NotFinished(f"job {job_id} is {job.state}; cancel it first with POST /v1/jobs/{job_id}/cancel")
    here.storage.delete_job(job_id)
    here.records.delete(job)
    return Response(status=204)


@blueprint.get("/<job_id>/artifacts/<name>")
@describes(
    "Get an artefact",
    scope=Scope.READ,
    query=ArtifactQuery,
    answers={200: BINARY, 302: None, 304: None},
    problems=(404, 410, 422, 503),
)
def get_artifact(job_id: str, name: str) -> Response:
    """The bytes, streamed; or with `redirect=1` the way to the object store."""
    query = read_query(ArtifactQuery)
    here = services()
    manifest = find_manifest(job_id, caller().tenant, here)
    artifact = next((known for known in manifest.job.artifacts if known.name == name), None)
    if artifact is None:
        raise NotFound(f"job {job_id} has no artefact {name!r}; GET /v1/jobs/{job_id} lists those it has")
    key = manifest.keys[artifact.name]
    if query.redirect:
        url = here.storage.bucket.presign(key, seconds=PRESIGNED_SECONDS, media_type=artifact.media_type)
        return redirect(url)  # type: ignore[return-value]
    return _send(artifact, key, here)


def cancel(job: Job, here: Services) -> Job:
    """Asks the worker to stop; a job that no worker has is claimed and ended here, as a worker would."""
    if job.state.terminal:
        return job
    claim = here.claims.withdraw(job.id, "asked", "api")
    if claim is not None:
        try:
            return end_job(here.claims, here.storage, claim, ended(job, State.CANCELLED))
        except ClaimLost:
            pass  # its lease ran out while S3 was slow: whoever has it now sees the wish
    return find_job(job.id, job.tenant, here)


def wait_for(job: Job, here: Services, seconds: float) -> Job:
    """The job when it has ended, or as it stands after that many seconds, or at once if too many wait already."""
    if not here.waiters.acquire(blocking=False):
        return job
    try:
        return _poll(job, here, seconds)
    finally:
        here.waiters.release()


def _poll(job: Job, here: Services, seconds: float) -> Job:
    limit = time.monotonic() + seconds
    while not job.state.terminal and time.monotonic() < limit:
        time.sleep(POLL_SECONDS)
        job = find_job(job.id, job.tenant, here)
    return job


def _send(artifact: Artifact, key: str, here: Services) -> Response:
    headers = {"Content-Length": str(artifact.bytes), "Cache-Control": "private, max-age=31536000, immutable"}
    answer = Response(mimetype=artifact.media_type, headers=headers)
    answer.set_etag(artifact.sha256)
    if request.if_none_match.contains(artifact.sha256):
        answer.make_conditional(request)
        return answer
    try:
        answer.response = here.storage.bucket.stream(key)
    except Missing as error:
        raise NotFound(f"artefact {artifact.name!r} is gone from the store; run the job again") from error
    return answer


def write_cursor(last: str) -> str:
    """Where a list goes on after a page that ends with this job."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def read_cursor(cursor: str) -> str:
    """The last job of the page before. Raises `InvalidRequest`."""
    try:
        after = base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, ValueError):
        after = ""
    if not JOB_ID.fullmatch(after):
        error = FieldError(field="cursor", detail="not a cursor of this list", given=cursor)
        raise InvalidRequest("the cursor is not one that this list gave out; start again without it", error)
    return after


def _same_url(arguments: dict[str, Any]) -> str:
    return f"{request.path}?{urlencode(arguments)}"


def _answer(job: Job, status: int = 200) -> Response:
    answer = _json(job, status)
    answer.set_etag(hashlib.sha256(answer.get_data()).hexdigest()[:32])
    answer.headers["Cache-Control"] = "no-cache"
    return answer


def _json(document: BaseModel, status: int = 200) -> Response:
    return Response(document.model_dump_json(), status=status, mimetype="application/json")
