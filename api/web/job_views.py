"""The pages of jobs: the list, one job, a comparison of two, and what can be done with a job."""

from flask import Response, redirect, render_template, url_for
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.dependencies import get_services
from api.http.auth import caller, needs
from api.http.parsing import read_query
from api.http.responses import read_cursor, write_cursor
from api.routes.jobs import JobQuery
from api.services.cancel_job import cancel
from api.services.delete_job import delete
from api.services.find_job import JOB_ID, find_job
from api.services.submit_job import load_body, submit
from api.web.job_list import PAGE_SIZE, list_recent, make_rows, read_jobs
from api.web.job_page import build_job_context, describe_phase, pair_items
from api.web.pages import blueprint
from api.web.results.gallery import cut_page
from archetype.contract.api_key import Scope
from archetype.contract.job import State
from archetype.contract.request import METHODS


class ListQuery(JobQuery):
    """The query string of the list: its filters, or the id of a job or a tag to look for."""

    search: str = Field(default="", max_length=200, description="Id of a job, or a tag.")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, fields: dict[str, str]) -> dict[str, str]:
        """A form sends the filters that are not set as empty texts."""
        return {name: value for name, value in fields.items() if value}


class GalleryQuery(BaseModel):
    """The page of the results of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: int = Field(default=1, ge=1)


class Pair(GalleryQuery):
    """Two jobs to compare."""

    left: str = Field(default="", max_length=26)
    right: str = Field(default="", max_length=26)


@blueprint.get("/jobs")
@needs(Scope.READ)
def list_jobs() -> str | Response:
    """Lists jobs, newest first. The search for an id leads to the job, any other to the jobs with this tag."""
    query, services, tenant = read_query(ListQuery), get_services(), caller().tenant
    search = query.search.strip()
    if JOB_ID.fullmatch(search.lower()):
        return redirect(url_for("page.show_job", job_id=search.lower()))  # type: ignore[return-value]
    filters = query.model_dump(include={"state", "method", "model", "tag"}, exclude_none=True)
    filters |= {"tag": search} if search else {}
    after = read_cursor(query.cursor) if query.cursor else None
    jobs, last = read_jobs(tenant, services, filters=filters, limit=min(query.limit, PAGE_SIZE), after=after)
    more = url_for("page.list_jobs", **filters, cursor=write_cursor(last)) if last else None
    return render_template(
        "page/jobs.html",
        rows=make_rows(jobs, services),
        filters=filters,
        states=list(State),
        methods=list(METHODS),
        models=sorted(services.catalogue.of(tenant).names),
        more=more,
    )


@blueprint.get("/jobs/<job_id>")
@needs(Scope.READ)
def show_job(job_id: str) -> str | Response:
    """Shows a job: its progress, its results, and how to submit it again."""
    job = find_job(job_id, caller().tenant, get_services())
    if job.method not in METHODS:
        return redirect(url_for("audit_page.show_audit", audit_id=job_id))  # type: ignore[return-value]
    page = read_query(GalleryQuery).page
    context = build_job_context(job, page)
    gallery, pages = cut_page(context["gallery"], page)
    context |= {"gallery": gallery, "page": page, "pages": pages, "phase": describe_phase(job)}
    return render_template("page/job.html", **context, side=context)


@blueprint.get("/compare")
@needs(Scope.READ)
def compare() -> str:
    """Compares two jobs, target by target."""
    pair, services, tenant = read_query(Pair), get_services(), caller().tenant
    recent = list_recent(tenant, services, PAGE_SIZE)
    jobs = [find_job(job_id, tenant, services) for job_id in (pair.left, pair.right) if job_id]
    sides = [build_job_context(job, pair.page) for job in jobs if job.method in METHODS]
    rows, pages = cut_page(pair_items(sides) if len(sides) == 2 else [], pair.page)
    return render_template("page/compare.html", pair=pair, recent=recent, sides=sides, rows=rows, pages=pages)


@blueprint.post("/jobs/<job_id>/cancel")
@needs(Scope.SUBMIT)
def cancel_job(job_id: str) -> Response:
    """Cancels a job and redirects to its page."""
    cancel(find_job(job_id, caller().tenant, get_services()), get_services())
    return redirect(url_for("page.show_job", job_id=job_id), 303)  # type: ignore[return-value]


@blueprint.post("/jobs/<job_id>/delete")
@needs(Scope.SUBMIT)
def delete_job(job_id: str) -> Response:
    """Deletes a job that has ended, with its files, and redirects to the list of jobs."""
    delete(job_id, caller().tenant, get_services())
    return redirect(url_for("page.list_jobs"), 303)  # type: ignore[return-value]


@blueprint.post("/jobs/<job_id>/again")
@needs(Scope.SUBMIT)
def submit_again(job_id: str) -> Response:
    """Submits the request of a job again and redirects to the new job."""
    services = get_services()
    find_job(job_id, caller().tenant, services)
    job = submit(load_body(job_id, services), services, caller(), idempotency_key=None)
    return redirect(url_for("page.show_job", job_id=job.id), 303)  # type: ignore[return-value]
