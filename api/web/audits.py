"""The pages of audits: the list with verdicts, and one audit with its findings."""

from flask import Blueprint, render_template, url_for

from api.dependencies import get_services
from api.http.auth import caller, needs
from api.http.parsing import read_query
from api.http.responses import read_cursor, write_cursor
from api.routes.audits import AuditQuery
from api.services.find_job import find_job
from api.services.view_audits import find_audit, find_trend, show_running, view_audit
from api.web.layout import set_up_pages
from archetype.contract.api_key import Scope

blueprint = set_up_pages(Blueprint("audit_page", __name__, template_folder="templates"))

PAGE_SIZE = 30


@blueprint.get("/audits")
@needs(Scope.READ)
def list_audits() -> str:
    """Lists audits with their verdicts, newest first; for one model also the figures of each release."""
    query, services, tenant = read_query(AuditQuery), get_services(), caller().tenant
    filters = {"method": "audit", **query.model_dump(include={"state", "model"}, exclude_none=True)}
    after = read_cursor(query.cursor) if query.cursor else None
    jobs, last = services.job_list.page(tenant, filters=filters, limit=min(query.limit, PAGE_SIZE), after=after)
    audits = [find_job(job.id, tenant, services) if job.state.terminal else show_running(job, services) for job in jobs]
    more = url_for("audit_page.list_audits", model=query.model, cursor=write_cursor(last)) if last else None
    name = (query.model or "").partition("@")[0]
    trend = find_trend(name, tenant, services) if name in services.catalogue.of(tenant).names else None
    return render_template("page/audits.html", audits=audits, query=query, more=more, trend=trend)


@blueprint.get("/audits/<audit_id>")
@needs(Scope.READ)
def show_audit(audit_id: str) -> str:
    """Shows an audit: its verdict, findings, jobs and report."""
    services = get_services()
    job = find_audit(audit_id, caller().tenant, services)
    return render_template("page/audit.html", audit=view_audit(job, services))
