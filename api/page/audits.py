"""The pages of audits: all of them with their verdicts, and one with its findings."""

from flask import Blueprint, render_template, url_for

from api.access import caller, needs
from api.audits import AuditQuery, find_audit, view
from api.body import read_query
from api.jobs import read_cursor, write_cursor
from api.lookup import find_job
from api.page.site import furnish
from api.services import services
from api.trends import find_trend
from shared.access import Scope

blueprint = furnish(Blueprint("audit_page", __name__, template_folder="templates"))

ROWS = 30


@blueprint.get("/audits")
@needs(Scope.READ)
def list_audits() -> str:
    """Audits with their verdicts, newest first: of one model, how it has fared from release to release."""
    query, here, tenant = read_query(AuditQuery), services(), caller().tenant
    filters = {"method": "audit", **query.model_dump(include={"state", "model"}, exclude_none=True)}
    after = read_cursor(query.cursor) if query.cursor else None
    jobs, last = here.records.page(tenant, filters=filters, limit=min(query.limit, ROWS), after=after)
    audits = [find_job(job.id, tenant, here) if job.state.terminal else job for job in jobs]
    more = url_for("audit_page.list_audits", model=query.model, cursor=write_cursor(last)) if last else None
    name = (query.model or "").partition("@")[0]
    trend = find_trend(name, here, tenant) if name in here.catalogue.of(tenant).names else None
    return render_template("page/audits.html", audits=audits, query=query, more=more, trend=trend)


@blueprint.get("/audits/<audit_id>")
@needs(Scope.READ)
def show_audit(audit_id: str) -> str:
    """An audit: its verdict, what was found, its jobs and its report."""
    here = services()
    return render_template("page/audit.html", audit=view(find_audit(audit_id, here), here))
