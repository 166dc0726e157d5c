"""Audits over HTTP: what a release has learned that another one had not."""

from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import caller
from api.auditing import submit_audit
from api.body import read_body, read_query
from api.events import STREAM, follow_job
from api.jobs import cancel, read_cursor, write_cursor
from api.lookup import find_job
from api.openapi import Content, describes
from api.services import Services, services
from shared.access import Scope
from shared.audits import Audits, AuditView, Finding, Member, NewAudit
from shared.errors import NotFound
from shared.jobs import Job, Progress, State
from shared.methods import Audit
from shared.rebuilding import load_order

blueprint = Blueprint("audits", __name__, url_prefix="/v1/audits")

REPORT = Content(
    "text/html",
    {"type": "string", "description": "One file with everything in it."},
    "<!doctype html><title>fruit@2026-11-21: pass</title>",
)


class AuditQuery(BaseModel):
    """How to list audits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(default=None, description="Only of this model: `name` or `name@release`.")
    state: State | None = Field(default=None, description="Only those in this state.")
    limit: Annotated[int, Field(ge=1, le=200)] = Field(default=50, description="Most audits on a page.")
    cursor: str | None = Field(default=None, max_length=100, description="`next_cursor` of the page before.")


@blueprint.post("")
@describes(
    "Audit a release",
    scope=Scope.SUBMIT,
    body=NewAudit,
    answers={202: AuditView},
    problems=(400, 411, 413, 415, 422, 429, 503),
)
def post_audit() -> Response:
    """One audit of the same releases under the same plan, however often it is asked for."""
    new = read_body(NewAudit)
    job = submit_audit(new, services(), caller())
    answer = _json(view(job, services()), 202)
    answer.headers["Location"] = f"/v1/audits/{job.id}"
    return answer


@blueprint.get("")
@describes("List audits", scope=Scope.READ, query=AuditQuery, answers={200: Audits}, problems=(422, 503))
def list_audits() -> Response:
    """Newest first, a page at a time."""
    query = read_query(AuditQuery)
    filters = {"method": "audit", **query.model_dump(include={"state", "model"}, exclude_none=True)}
    after = read_cursor(query.cursor) if query.cursor else None
    jobs, last = services().records.page(caller().tenant, filters=filters, limit=query.limit, after=after)
    return _json(Audits(items=jobs, next_cursor=write_cursor(last) if last else None))


@blueprint.get("/<audit_id>")
@describes("Get an audit", scope=Scope.READ, answers={200: AuditView}, problems=(404, 410, 503))
def get_audit(audit_id: str) -> Response:
    """The audit as it stands: its jobs, and once they have ended, its verdict with what was found."""
    here = services()
    return _json(view(find_audit(audit_id, here), here))


@blueprint.post("/<audit_id>/cancel")
@describes("Cancel an audit", scope=Scope.SUBMIT, answers={202: AuditView}, problems=(404, 410, 503))
def cancel_audit(audit_id: str) -> Response:
    """Cancels it with all of its jobs; one that has ended stays as it is."""
    here = services()
    job = cancel(find_audit(audit_id, here), here)
    for member in load_members(job, here).values():
        cancel(find_job(member, job.tenant, here), here)
    return _json(view(job, here), 202)


@blueprint.get("/<audit_id>/events")
@describes("Follow an audit", scope=Scope.READ, answers={200: STREAM}, problems=(404, 410, 422, 429, 503))
def follow_audit(audit_id: str) -> Response:
    """How it stands, then every change of its state; ends when it has ended."""
    find_audit(audit_id, services())
    return follow_job(audit_id)


@blueprint.get("/<audit_id>/report")
@describes("Read an audit's report", scope=Scope.READ, answers={200: REPORT}, problems=(404, 410, 503))
def get_report(audit_id: str) -> Response:
    """The report as one HTML file, with all pictures in it."""
    here = services()
    job = find_audit(audit_id, here)
    if not job.state.terminal or not any(one.name == "report.html" for one in job.artifacts):
        raise NotFound(f"audit {audit_id} is {job.state} and has no report; GET /v1/audits/{audit_id} says why")
    key = here.manifests.get(job.id, here.records.find_manifest(job.id)).keys["report.html"]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return Response(here.storage.bucket.get(key), mimetype="text/html", headers=headers)


def find_audit(audit_id: str, here: Services) -> Job:
    """The job that ends an audit. Raises `NotFound` and `Gone`."""
    job = find_job(audit_id, caller().tenant, here)
    if job.method != "audit":
        raise NotFound(f"{audit_id} is a job, and no audit; GET /v1/audits lists those there are")
    return job


def load_members(job: Job, here: Services) -> dict[str, str]:
    """The jobs that an audit is made of, by their role."""
    return dict(load_order(here.storage, job.id).request["members"])


def view(job: Job, here: Services) -> AuditView:
    """An audit as it stands."""
    audit = Audit.model_validate(load_order(here.storage, job.id).request)
    members = [_look_up(role, member, job.tenant, here) for role, member in audit.members.items()]
    ended = sum(member.state.terminal for member in members)
    said: dict[str, Any] = job.metrics
    href = f"/v1/audits/{job.id}"
    return AuditView(
        id=job.id, model=job.model, baselines=audit.baselines, plan=audit.plan.name, plan_version=audit.plan.version,
        state=State.RUNNING if ended and not job.state.terminal else job.state,
        verdict=said.get("verdict"), summary=said.get("summary"),
        findings=[Finding.model_validate(one) for one in said.get("findings", [])],
        progress=Progress(done=ended + job.state.terminal, total=len(members) + 1, unit="job"), members=members,
        tags=job.tags, created_at=job.created_at, finished_at=job.finished_at, artifacts=job.artifacts, error=job.error,
        links={"self": href, "cancel": f"{href}/cancel", "report": f"{href}/report", "events": f"{href}/events"},
    )  # fmt: skip


def _look_up(role: str, job_id: str, tenant: str, here: Services) -> Member:
    job = here.records.find(job_id) or find_job(job_id, tenant, here)
    return Member(role=role, job=job_id, state=job.state, href=f"/v1/jobs/{job_id}")


def _json(document: BaseModel, status: int = 200) -> Response:
    return Response(document.model_dump_json(), status=status, mimetype="application/json")
