"""The pages: new job, list of jobs, one job, comparison of two jobs, models, and one model."""

from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import get_services
from api.http.auth import caller, needs
from api.http.parsing import read_query
from api.http.responses import read_cursor, write_cursor
from api.routes.jobs import JobQuery
from api.services.cancel_job import cancel
from api.services.find_job import find_job, find_manifest, shorten
from api.services.submit_job import load_body, submit
from api.web.form import make_form
from api.web.frames import count_frames, cut_frame
from api.web.gallery import GalleryItem, arrange_gallery, cut_page, find_overview, list_rest
from api.web.layout import set_up_pages
from api.web.snippets import write_snippets
from api.web.titles import write_title
from archetype.contract.api_key import Scope
from archetype.contract.job import Job, State
from archetype.contract.model import Preprocessing
from archetype.contract.request import METHODS
from archetype.contract.strict_json import dump_json
from shared.catalogue.release import Release
from shared.errors import NotFound, Problem
from shared.lifecycle.rebuild import load_spec
from shared.validation.stored_request import parse_stored

blueprint = set_up_pages(
    Blueprint("page", __name__, template_folder="templates", static_folder="static", static_url_path="/static")
)

PAGE_SIZE = 30
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}


class GalleryQuery(BaseModel):
    """The page of the results of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: int = Field(default=1, ge=1)


class Pair(GalleryQuery):
    """Two jobs to compare."""

    left: str = Field(default="", max_length=26)
    right: str = Field(default="", max_length=26)


@blueprint.get("/")
@needs(Scope.READ)
def home() -> str:
    """Shows the introduction, the form of a class visualization, and the newest jobs."""
    return _render_form("class_model", welcome=True)


@blueprint.get("/new/<method>")
@needs(Scope.READ)
def new_job(method: str) -> str:
    """Shows the form of a method."""
    if method not in METHODS:
        raise NotFound(f"there is no method {method[:40]!r}; the methods are {', '.join(METHODS)}")
    return _render_form(method, welcome=False)


@blueprint.get("/jobs")
@needs(Scope.READ)
def list_jobs() -> str:
    """Lists jobs, newest first."""
    query = read_query(JobQuery)
    filters = query.model_dump(include={"state", "method", "model", "tag"}, exclude_none=True)
    after = read_cursor(query.cursor) if query.cursor else None
    jobs, last = get_services().job_index.page(
        caller().tenant, filters=filters, limit=min(query.limit, PAGE_SIZE), after=after
    )
    more = url_for("page.list_jobs", **filters, cursor=write_cursor(last)) if last else None
    return render_template(
        "page/jobs.html", jobs=jobs, query=query, states=list(State), methods=list(METHODS), more=more
    )


@blueprint.get("/jobs/<job_id>")
@needs(Scope.READ)
def show_job(job_id: str) -> str | Response:
    """Shows a job: its progress, its results, and how to submit it again."""
    job = find_job(job_id, caller().tenant, get_services())
    if job.method not in METHODS:
        return redirect(url_for("audit_page.show_audit", audit_id=job_id))  # type: ignore[return-value]
    page, context = read_query(GalleryQuery).page, _build_job_context(job)
    gallery, pages = cut_page(context["gallery"], page)
    return render_template("page/job.html", **context | {"gallery": gallery, "page": page, "pages": pages})


@blueprint.get("/compare")
@needs(Scope.READ)
def compare() -> str:
    """Compares two jobs, target by target."""
    pair, services, tenant = read_query(Pair), get_services(), caller().tenant
    recent = _list_recent(tenant, PAGE_SIZE)
    jobs = [find_job(job_id, tenant, services) for job_id in (pair.left, pair.right) if job_id]
    sides = [_build_job_context(job) for job in jobs if job.method in METHODS]
    rows, pages = cut_page(_pair_items(sides) if len(sides) == 2 else [], pair.page)
    return render_template("page/compare.html", pair=pair, recent=recent, sides=sides, rows=rows, pages=pages)


@blueprint.post("/jobs/<job_id>/cancel")
@needs(Scope.SUBMIT)
def cancel_job(job_id: str) -> Response:
    """Cancels a job and redirects to its page."""
    cancel(find_job(job_id, caller().tenant, get_services()), get_services())
    return redirect(url_for("page.show_job", job_id=job_id), 303)  # type: ignore[return-value]


@blueprint.post("/jobs/<job_id>/again")
@needs(Scope.SUBMIT)
def submit_again(job_id: str) -> Response:
    """Submits the request of a job again and redirects to the new job."""
    services = get_services()
    find_job(job_id, caller().tenant, services)
    job = submit(load_body(job_id, services), services, caller(), idempotency_key=None)
    return redirect(url_for("page.show_job", job_id=job.id), 303)  # type: ignore[return-value]


@blueprint.get("/jobs/<job_id>/frames/<name>")
@needs(Scope.READ)
def list_frames(job_id: str, name: str) -> Response:
    """Returns the number of frames of an animation."""
    body = dump_json({"count": count_frames(_read_animation(job_id, name))})
    return Response(body, mimetype="application/json", headers=IMMUTABLE)


@blueprint.get("/jobs/<job_id>/frames/<name>/<int:number>")
@needs(Scope.READ)
def get_frame(job_id: str, name: str, number: int) -> Response:
    """Returns one frame of an animation."""
    return Response(cut_frame(_read_animation(job_id, name), number), mimetype="image/webp", headers=IMMUTABLE)


@blueprint.get("/models")
@needs(Scope.READ)
def list_models() -> str:
    """Lists the models of the catalogue."""
    return render_template("page/models.html", models=get_services().catalogue.of(caller().tenant).models)


@blueprint.get("/models/<reference>")
@needs(Scope.READ)
def show_model(reference: str) -> str:
    """Shows a model with its layers and classes."""
    services = get_services()
    try:
        release = services.catalogue.of(caller().tenant).find(reference)
    except Problem as problem:
        raise NotFound(problem.detail) from problem
    releases = services.catalogue.of(caller().tenant).releases(release.name)
    description = services.storage.load_description(release)
    return render_template("page/model.html", release=release, releases=releases, description=description)


def _render_form(method: str, *, welcome: bool) -> str:
    services, tenant = get_services(), caller().tenant
    catalogue = services.catalogue.of(tenant)
    model = request.args.get("model", "")
    releases: list[Release] = [releases[-1] for releases in catalogue.models]
    context = {
        "form": make_form(method),
        "methods": list(METHODS),
        "releases": releases,
        "selected": next((release for release in releases if release.name == model), releases[0]),
        "recent": _list_recent(tenant, 6),
        "welcome": welcome,
        "values": {},
    }
    return render_template("page/new.html", **context)


def _list_recent(tenant: str, count: int) -> list[Job]:
    """Returns the newest jobs that have images to show."""
    jobs, _ = get_services().job_index.page(tenant, filters={"state": State.SUCCEEDED}, limit=2 * count, after=None)
    return [job for job in jobs if job.method in METHODS][:count]


def _build_job_context(job: Job) -> dict[str, Any]:
    """Returns the variables of the template of a job."""
    services = get_services()
    spec = parse_stored(load_spec(services.storage, job.id).request).model_dump(mode="json")  # with all defaults
    release = _find_release(job)
    preprocessing = release.preprocessing if release else Preprocessing()
    is_whole_view = preprocessing.fit == "stretch" or spec.get("params", {}).get("view") == "whole"
    # The maps of `localization` cover the whole image, the maps of other methods the view of the network.
    whole = job.method == "localization" or is_whole_view
    zoom = preprocessing.resize / min(preprocessing.size) if preprocessing.resize and not whole else 1.0
    return {
        "job": shorten(job),
        "spec": spec,
        "title": write_title(spec, release.classes if release else ()),
        "overview": find_overview(job),
        "gallery": arrange_gallery(job),
        "rest": list_rest(job),
        "zoom": f"{zoom:.4f}",
        "fit": "fill" if whole else "cover",
        "snippets": write_snippets(spec, request.host_url.rstrip("/")),
    }


def _find_release(job: Job) -> Release | None:
    """Returns the release of a job; None if the catalogue no longer has it."""
    name, _, version = job.model.partition("@")
    releases = get_services().catalogue.of(job.tenant).releases(name)
    return next((release for release in releases if release.release == version), None)


def _pair_items(sides: list[dict[str, Any]]) -> list[tuple[GalleryItem | None, GalleryItem | None]]:
    """Pairs the items of two jobs by target and image; items that only one job has are paired with None."""
    left, right = ({(item.title, item.image): item for item in side["gallery"]} for side in sides)
    return [(left.get(key), right.get(key)) for key in {**left, **right}]


def _read_animation(job_id: str, name: str) -> bytes:
    services = get_services()
    manifest = find_manifest(job_id, caller().tenant, services)
    if name not in manifest.keys or not name.endswith(".webp"):
        raise NotFound(f"job {job_id} has no animation {name[:80]!r}")
    return services.storage.bucket.get(manifest.keys[name])
