"""Audits: submit, get, list, cancel and follow them, get their reports, and get the trend of a model."""

from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import get_services
from api.http.auth import caller
from api.http.event_stream import EVENT_STREAM, read_last_event_id, stream_events
from api.http.files import stream_artifact
from api.http.openapi import Content, describes
from api.http.parsing import read_body, read_query
from api.http.responses import make_json_response, read_cursor, write_cursor
from api.services.cancel_job import cancel_with_members
from api.services.follow_job import follow_job
from api.services.review.decisions import decide
from api.services.review.signatures import find_signer, sign_report
from api.services.submit_audit import submit_audit
from api.services.view_audits import find_audit, find_report, find_trend, show_running, view_audit
from archetype.contract.api_key import Scope
from archetype.contract.audit import Audits, AuditView, NewAudit, Trend
from archetype.contract.job import State
from archetype.contract.report.decision import Decision, NewDecision
from archetype.contract.report.signature import Signature, SigningKey

blueprint = Blueprint("audits", __name__, url_prefix="/v1")

REPORT = Content(
    "text/html",
    {"type": "string", "description": "One HTML file that contains all its images."},
    "<!doctype html><title>fruit@2026-11-21: pass</title>",
)


class AuditQuery(BaseModel):
    """The query string of the list of audits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(default=None, description="Only audits of this model: `name` or `name@release`.")
    state: State | None = Field(default=None, description="Only audits in this state.")
    limit: Annotated[int, Field(ge=1, le=200)] = Field(default=50, description="Maximum number of audits on a page.")
    cursor: str | None = Field(default=None, max_length=100, description="`next_cursor` of the previous page.")


class TrendQuery(BaseModel):
    """The query string of a trend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: str | None = Field(default=None, max_length=64, description="Only audits under the plan with this name.")


@blueprint.post("/audits")
@describes(
    "Audit a release",
    scope=Scope.SUBMIT,
    body=NewAudit,
    responses={202: AuditView},
    problems=(400, 411, 413, 415, 422, 429, 503),
)
def post_audit() -> Response:
    """Compares a release with its baselines.

    Repeated requests with the same releases and plan return the same audit, unless `again` is true.
    """
    services = get_services()
    job = submit_audit(read_body(NewAudit), services, caller())
    return make_json_response(view_audit(job, services), 202, location=f"/v1/audits/{job.id}")


@blueprint.get("/audits")
@describes("List audits", scope=Scope.READ, query=AuditQuery, responses={200: Audits}, problems=(422, 503))
def list_audits() -> Response:
    """Lists audits in pages, newest first."""
    query = read_query(AuditQuery)
    filters = {"method": "audit", **query.model_dump(include={"state", "model"}, exclude_none=True)}
    jobs, last_id = get_services().job_list.page(
        caller().tenant, filters=filters, limit=query.limit, after=read_cursor(query.cursor)
    )
    audits = [show_running(job, get_services()) for job in jobs]
    return make_json_response(Audits(items=audits, next_cursor=write_cursor(last_id)))


@blueprint.get("/audits/<audit_id>")
@describes("Get an audit", scope=Scope.READ, responses={200: AuditView}, problems=(404, 410, 503))
def get_audit(audit_id: str) -> Response:
    """Returns the current state of an audit: its jobs and, after they have ended, its verdict and findings."""
    services = get_services()
    return make_json_response(view_audit(find_audit(audit_id, caller().tenant, services), services))


@blueprint.post("/audits/<audit_id>/cancel")
@describes("Cancel an audit", scope=Scope.SUBMIT, responses={202: AuditView}, problems=(404, 410, 503))
def cancel_audit(audit_id: str) -> Response:
    """Cancels an audit with all its jobs. An audit that has ended does not change."""
    services = get_services()
    job = cancel_with_members(find_audit(audit_id, caller().tenant, services), services)
    return make_json_response(view_audit(job, services), 202)


@blueprint.get("/audits/<audit_id>/events")
@describes("Follow an audit", scope=Scope.READ, responses={200: EVENT_STREAM}, problems=(404, 410, 422, 429, 503))
def follow_audit(audit_id: str) -> Response:
    """Streams the current state of an audit, then every change. The stream ends when the audit has ended."""
    services, tenant = get_services(), caller().tenant
    find_audit(audit_id, tenant, services)
    after = read_last_event_id()
    return stream_events(services, lambda: follow_job(audit_id, tenant, after, services))


@blueprint.get("/audits/<audit_id>/report")
@describes("Get the report of an audit", scope=Scope.READ, responses={200: REPORT, 304: None}, problems=(404, 410, 503))
def get_report(audit_id: str) -> Response:
    """Returns the report as one HTML file that contains all its images."""
    services = get_services()
    artifact, key = find_report(audit_id, caller().tenant, services)
    return stream_artifact(artifact, key, services)


@blueprint.get("/audits/<audit_id>/signature")
@describes("Get the signature of a report", scope=Scope.READ, responses={200: Signature}, problems=(404, 409, 410, 503))
def get_signature(audit_id: str) -> Response:
    """Returns the detached signature of `report.json`. Save it as `report.json.sig`."""
    services = get_services()
    return make_json_response(sign_report(find_audit(audit_id, caller().tenant, services), services))


@blueprint.get("/signing-key")
@describes("Get the public key of the service", scope=Scope.READ, responses={200: SigningKey}, problems=(404,))
def get_signing_key() -> Response:
    """Returns the public key that checks signatures of reports."""
    return make_json_response(find_signer(get_services()).public_key)


@blueprint.post("/audits/<audit_id>/decision")
@describes(
    "Decide about a release",
    scope=Scope.SUBMIT,
    body=NewDecision,
    responses={201: Decision},
    problems=(400, 404, 409, 410, 411, 413, 415, 422, 503),
)
def post_decision(audit_id: str) -> Response:
    """Approves or rejects the release, or waives the findings, with the digest of the report that was read.

    A decision is never changed. A later decision takes precedence.
    """
    services = get_services()
    job = find_audit(audit_id, caller().tenant, services)
    return make_json_response(decide(read_body(NewDecision), job, caller(), services), 201)


@blueprint.get("/models/<model>/trend")
@describes(
    "Get the trend of a model", scope=Scope.READ, query=TrendQuery, responses={200: Trend}, problems=(404, 422, 503)
)
def get_trend(model: str) -> Response:
    """Returns the newest audit of every release of a model, the oldest release first."""
    plan = read_query(TrendQuery).plan
    return make_json_response(find_trend(model, caller().tenant, get_services(), plan=plan))
