"""The pages of audits: the list with verdicts, one audit with its findings and decisions, and the form of a new one."""

from datetime import datetime

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.dependencies import Services, get_services
from api.http.auth import caller, needs
from api.http.parsing import read_form, read_query
from api.http.responses import read_cursor, write_cursor
from api.routes.audits import AuditQuery
from api.services.find_job import find_job
from api.services.review.decisions import DOCUMENT, decide
from api.services.schedules import view_schedule
from api.services.submit_audit import submit_audit
from api.services.view_audits import find_audit, find_trend, show_running, view_audit
from api.web.audit_plans import list_plans, read_plan
from api.web.layout import set_up_pages
from archetype.contract.api_key import Scope
from archetype.contract.audit import NewAudit
from archetype.contract.audit_plan import APPROVED, PREVIOUS
from archetype.contract.job import Job, now
from archetype.contract.report.decision import NewDecision, find_valid_decision
from archetype.contract.schedule import Schedule
from shared.errors import Problem
from shared.validation.pydantic_errors import explain

blueprint = set_up_pages(Blueprint("audit_page", __name__, template_folder="templates"))

PAGE_SIZE = 30
MAX_SCHEDULES = 50
"""Schedules that the page lists."""


CHOICES = {
    PREVIOUS: "the previous release that was not rejected and did not fail",
    APPROVED: "the newest release that a person has approved",
}
"""Baselines of the form besides the releases, with their texts."""


class AuditForm(BaseModel):
    """The form of a new audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(max_length=200)
    baseline: str = Field(default=PREVIOUS, max_length=200)
    earlier: str = Field(default="", max_length=26)
    plan: str = ""
    again: bool = False


@blueprint.get("/audits")
@needs(Scope.READ)
def list_audits() -> str:
    """Lists audits with their verdicts, newest first, and schedules; for one model also the figures of each release."""
    query, services, tenant = read_query(AuditQuery), get_services(), caller().tenant
    filters = {"method": "audit", **query.model_dump(include={"state", "model"}, exclude_none=True)}
    after = read_cursor(query.cursor) if query.cursor else None
    jobs, last = services.job_list.page(tenant, filters=filters, limit=min(query.limit, PAGE_SIZE), after=after)
    audits = [find_job(job.id, tenant, services) if job.state.terminal else show_running(job, services) for job in jobs]
    more = url_for("audit_page.list_audits", model=query.model, cursor=write_cursor(last)) if last else None
    name = (query.model or "").partition("@")[0]
    trend = find_trend(name, tenant, services) if name in services.catalogue.of(tenant).names else None
    schedules = _list_schedules(name, tenant, services)
    return render_template("page/audits.html", audits=audits, query=query, more=more, trend=trend, schedules=schedules)


def _list_schedules(model: str, tenant: str, services: Services) -> list[Schedule]:
    found = [each for each in services.schedules.walk(tenant) if model in ("", each.model)]
    return [view_schedule(each, services) for each in found[:MAX_SCHEDULES]]


@blueprint.get("/audits/new")
@needs(Scope.SUBMIT)
def new_audit() -> str:
    """Shows the form of a new audit."""
    return _render_form(AuditForm(model=request.args.get("model", "")[:200]))


@blueprint.post("/audits/new")
@needs(Scope.SUBMIT)
def start_audit() -> Response:
    """Starts an audit and redirects to its page; if the audit is not accepted, shows the form with the reason."""
    form = read_form(AuditForm)
    try:
        job = submit_audit(_read_audit(form), get_services(), caller())
    except Problem as problem:
        return make_response(_render_form(form, problem), problem.status)
    return redirect(url_for("audit_page.show_audit", audit_id=job.id), 303)  # type: ignore[return-value]


def _read_audit(form: AuditForm) -> NewAudit:
    services, tenant = get_services(), caller().tenant
    plan = read_plan(form.plan, form.earlier, tenant, services)
    try:
        return NewAudit(model=form.model, plan=plan, baselines=[form.baseline], again=form.again)
    except ValidationError as error:
        raise explain(error, NewAudit) from error


def _render_form(form: AuditForm, problem: Problem | None = None) -> str:
    services, tenant = get_services(), caller().tenant
    releases = [release.reference for releases in services.catalogue.of(tenant).models for release in releases]
    plans = list_plans(tenant, services)
    return render_template(
        "page/new_audit.html", form=form, releases=releases, plans=plans, choices=CHOICES, problem=problem
    )


@blueprint.get("/audits/<audit_id>")
@needs(Scope.READ)
def show_audit(audit_id: str) -> str:
    """Shows an audit: its progress, verdict, findings, decisions, jobs and report."""
    return _render_audit(find_audit(audit_id, caller().tenant, get_services()))


@blueprint.post("/audits/<audit_id>/decision")
@needs(Scope.SUBMIT)
def post_decision(audit_id: str) -> Response:
    """Stores a decision and redirects to the audit; if it is not accepted, shows the audit with the reason."""
    services = get_services()
    job = find_audit(audit_id, caller().tenant, services)
    try:
        decide(read_form(NewDecision), job, caller(), services)
    except Problem as problem:
        return make_response(_render_audit(job, problem), problem.status)
    return redirect(url_for("audit_page.show_audit", audit_id=audit_id), 303)  # type: ignore[return-value]


def _render_audit(job: Job, problem: Problem | None = None) -> str:
    audit, today = view_audit(job, get_services()), now().date()
    digest = next((each.sha256 for each in job.artifacts if each.name == DOCUMENT), None)
    return render_template(
        "page/audit.html",
        audit=audit,
        digest=digest,
        decision=find_valid_decision(audit.decisions, today),
        problem=problem,
        today=today,
        seconds=_measure(job.created_at, job.finished_at),
    )


def _measure(start: datetime, end: datetime | None) -> int:
    """Returns the whole seconds from the start of an audit to its end, or to now."""
    return int(((end or now()) - start).total_seconds())
