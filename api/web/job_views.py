"""The pages of jobs: the list, one job, a comparison of several, and what can be done with jobs."""

from contextlib import suppress
from typing import Any

from flask import Response, redirect, render_template, request, url_for
from pydantic import Field, model_validator

from api.dependencies import Services, get_services
from api.http.auth import caller, needs
from api.http.parsing import read_query
from api.http.responses import read_cursor, write_cursor
from api.routes.jobs import JobQuery
from api.services.cancel_job import cancel, cancel_with_members
from api.services.delete_job import delete
from api.services.find_job import JOB_ID, find_job
from api.services.submit_job import load_body, submit
from api.web.job_list import PAGE_SIZE, Row, list_recent, make_rows, read_jobs
from api.web.job_page import build_job_context, describe_phase
from api.web.pages import blueprint
from api.web.results.comparison import ComparisonQuery, align, explain_refusal, find_difference, list_differences
from api.web.results.gallery import GalleryQuery, cut_page
from archetype.contract.api_key import Scope
from archetype.contract.job import Job, State
from archetype.contract.request import METHODS
from shared.errors import Gone, NotFinished, NotFound, Unavailable
from shared.state.queue_depth import count_ahead

MAX_OFFERED = 24
"""Number of jobs that the comparison offers."""


class ListQuery(JobQuery):
    """The query string of the list: its filters, or the id of a job or a tag to look for."""

    search: str = Field(default="", max_length=200, description="Id of a job, or a tag.")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, fields: dict[str, str]) -> dict[str, str]:
        """A form sends the filters that are not set as empty texts."""
        return {name: value for name, value in fields.items() if value}


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
    phase = describe_phase(job, find_ahead(job, context["spec"]))
    context |= {"gallery": gallery, "page": page, "pages": pages, "phase": phase}
    return render_template("page/job.html", **context, side=context)


def find_ahead(job: Job, spec: dict[str, Any]) -> int | None:
    """Number of shards that workers start before those of a queued job; None if it is not known."""
    if job.state is not State.QUEUED:
        return None
    with suppress(Unavailable):  # the page works without
        return count_ahead(get_services().redis_client, job.id, spec["priority"])
    return None


@blueprint.get("/compare")
@needs(Scope.READ)
def compare() -> str:
    """Compares up to four jobs of one method, class by class, and offers jobs to choose from."""
    query, services, tenant = read_query(ComparisonQuery, several=("job",)), get_services(), caller().tenant
    jobs = [find_job(job_id, tenant, services) for job_id in query.job]
    refusal = explain_refusal(jobs)
    sides = [] if refusal or len(jobs) < 2 else [build_job_context(job, query.page) for job in jobs]
    rows, pages = cut_page(align([side["gallery"] for side in sides]), query.page)
    return render_template(
        "page/compare.html",
        selected=make_rows(jobs, services),
        offered=[row for row in offer_jobs(query.search, tenant, services) if row.job.id not in query.job],
        search=query.search,
        refusal=refusal,
        sides=sides,
        differences=list_differences(jobs, [side["spec"] for side in sides]) if sides else [],
        rows=[(row, find_difference(row)) for row in rows],
        page=query.page,
        pages=pages,
    )


def offer_jobs(tag: str, tenant: str, services: Services) -> list[Row]:
    """The newest jobs that can be compared: those with a tag, or all."""
    filters = {"tag": tag.strip()} if tag.strip() else {}
    return make_rows(list_recent(tenant, services, MAX_OFFERED, filters), services)


@blueprint.post("/jobs/<any(cancel, delete):action>")
@needs(Scope.SUBMIT)
def change_jobs(action: str) -> Response:
    """Cancels the chosen jobs that have not ended, or deletes those that have, and shows the list again."""
    services, tenant = get_services(), caller().tenant
    for job_id in request.form.getlist("job")[:PAGE_SIZE]:
        with suppress(NotFound, Gone, NotFinished):  # another request was first, or the job still runs
            if action == "delete":
                delete(job_id, tenant, services)
            elif (job := find_job(job_id, tenant, services)).method in METHODS:
                cancel(job, services)
            else:
                cancel_with_members(job, services)
    return redirect(url_for("page.list_jobs"), 303)  # type: ignore[return-value]


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
