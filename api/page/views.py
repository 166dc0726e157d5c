"""The pages: a new job, jobs, one job, two jobs beside each other, models, one model; and the way in."""

import json
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from api.access import COOKIE, caller, find_owner, needs
from api.body import read_query
from api.jobs import JobQuery, cancel, read_cursor, write_cursor
from api.lookup import find_job, find_manifest
from api.page.exhibits import arrange_exhibits, find_overview, list_rest
from api.page.form import make_form
from api.page.frames import count_frames, cut_frame
from api.page.site import furnish
from api.page.snippets import write_snippets
from api.services import services
from api.submission import submit
from shared.access import Scope
from shared.catalogue import Preprocessing, Release
from shared.errors import NotFound, Problem
from shared.jobs import Job, State
from shared.methods import MENU
from shared.rebuilding import load_order

blueprint = furnish(
    Blueprint("page", __name__, template_folder="templates", static_folder="static", static_url_path="/static")
)

FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


class Pair(BaseModel):
    """Two jobs to compare."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    left: str = Field(default="", max_length=26)
    right: str = Field(default="", max_length=26)


@blueprint.get("/")
@needs(Scope.READ)
def home() -> str:
    """What this is, the form of a class model, and the newest jobs."""
    return _new("class_model", welcome=True)


@blueprint.get("/new/<method>")
@needs(Scope.READ)
def new_job(method: str) -> str:
    """The form of a method."""
    if method not in MENU:
        raise NotFound(f"there is no method {method[:40]!r}; the menu has {', '.join(MENU)}")
    return _new(method, welcome=False)


@blueprint.get("/jobs")
@needs(Scope.READ)
def list_jobs() -> str:
    """Jobs, newest first."""
    query = read_query(JobQuery)
    filters = query.model_dump(include={"state", "method", "model", "tag"}, exclude_none=True)
    after = read_cursor(query.cursor) if query.cursor else None
    jobs, last = services().records.page(caller().tenant, filters=filters, limit=min(query.limit, 30), after=after)
    more = url_for("page.list_jobs", **filters, cursor=write_cursor(last)) if last else None
    return render_template("page/jobs.html", jobs=jobs, query=query, states=list(State), methods=list(MENU), more=more)


@blueprint.get("/jobs/<job_id>")
@needs(Scope.READ)
def show_job(job_id: str) -> str | Response:
    """A job: how far it is, what came out, and how to ask for the same again."""
    job = find_job(job_id, caller().tenant, services())
    if job.method not in MENU:
        return redirect(url_for("audit_page.show_audit", audit_id=job_id))  # type: ignore[return-value]
    return render_template("page/job.html", **_describe(job))


@blueprint.get("/compare")
@needs(Scope.READ)
def compare() -> str:
    """Two jobs beside each other, target by target."""
    pair, here, tenant = read_query(Pair), services(), caller().tenant
    recent = _list_recent(tenant, 30)
    jobs = [find_job(job_id, tenant, here) for job_id in (pair.left, pair.right) if job_id]
    sides = [_describe(job) for job in jobs if job.method in MENU]
    rows = _match(sides) if len(sides) == 2 else []
    return render_template("page/compare.html", pair=pair, recent=recent, sides=sides, rows=rows)


@blueprint.post("/jobs/<job_id>/cancel")
@needs(Scope.SUBMIT)
def cancel_job(job_id: str) -> Response:
    """Cancels a job, and shows what became of it."""
    cancel(find_job(job_id, caller().tenant, services()), services())
    return redirect(url_for("page.show_job", job_id=job_id), 303)  # type: ignore[return-value]


@blueprint.post("/jobs/<job_id>/again")
@needs(Scope.SUBMIT)
def submit_again(job_id: str) -> Response:
    """Submits the same request once more."""
    here = services()
    find_job(job_id, caller().tenant, here)
    job = submit(load_order(here.storage, job_id).request, here, caller(), idempotency_key=None)
    return redirect(url_for("page.show_job", job_id=job.id), 303)  # type: ignore[return-value]


@blueprint.get("/jobs/<job_id>/frames/<name>")
@needs(Scope.READ)
def list_frames(job_id: str, name: str) -> Response:
    """How many frames an animation has."""
    body = json.dumps({"count": count_frames(_read_animation(job_id, name))})
    return Response(body, mimetype="application/json", headers=FOREVER)


@blueprint.get("/jobs/<job_id>/frames/<name>/<int:number>")
@needs(Scope.READ)
def get_frame(job_id: str, name: str, number: int) -> Response:
    """One frame of an animation."""
    return Response(cut_frame(_read_animation(job_id, name), number), mimetype="image/webp", headers=FOREVER)


@blueprint.get("/models")
@needs(Scope.READ)
def list_models() -> str:
    """The catalogue."""
    catalogue = services().catalogue.of(caller().tenant)
    return render_template("page/models.html", models=[catalogue.releases(name) for name in catalogue.names])


@blueprint.get("/models/<reference>")
@needs(Scope.READ)
def show_model(reference: str) -> str:
    """A model with its layers and classes."""
    here = services()
    try:
        release = here.catalogue.of(caller().tenant).find(reference)
    except Problem as problem:
        raise NotFound(problem.detail) from problem
    releases = here.catalogue.of(caller().tenant).releases(release.name)
    seen = here.storage.load_description(release.name, release.release)
    return render_template("page/model.html", release=release, releases=releases, seen=seen)


@blueprint.get("/enter")
def enter() -> str:
    """Where a key is asked for."""
    return render_template("page/enter.html", wrong=False)


@blueprint.post("/enter")
def take_key() -> Response | tuple[str, int]:
    """Keeps a key in a cookie that scripts cannot read and other sites cannot use."""
    key = request.form.get("key", "").strip()
    if not key or find_owner(key, services()) is None:
        return render_template("page/enter.html", wrong=True), 401
    wanted = request.form.get("next", "/")
    answer = redirect(wanted if wanted.startswith("/") and not wanted.startswith(("//", "/\\")) else "/", 303)
    secure = request.is_secure
    answer.set_cookie(COOKIE, key, httponly=True, samesite="Strict", secure=secure, max_age=86_400)
    return answer  # type: ignore[return-value]


@blueprint.post("/leave")
def leave() -> Response:
    """Forgets the key."""
    answer = redirect(url_for("page.enter"), 303)
    answer.delete_cookie(COOKIE)
    return answer  # type: ignore[return-value]


def _new(method: str, *, welcome: bool) -> str:
    here, tenant = services(), caller().tenant
    catalogue = here.catalogue.of(tenant)
    model = request.args.get("model", "")
    releases: list[Release] = [catalogue.releases(name)[-1] for name in catalogue.names]
    chosen = next((release for release in releases if release.name == model), releases[0])
    recent = _list_recent(tenant, 6)
    return render_template(
        "page/new.html", form=make_form(method), methods=list(MENU), releases=releases, chosen=chosen, recent=recent,
        welcome=welcome,
    )  # fmt: skip


def _list_recent(tenant: str, count: int) -> list[Job]:
    """The newest jobs that have pictures to show."""
    jobs, _ = services().records.page(tenant, filters={"state": State.SUCCEEDED}, limit=2 * count, after=None)
    return [job for job in jobs if job.method in MENU][:count]


def _describe(job: Job) -> dict[str, Any]:
    """What the page of a job needs."""
    here = services()
    order = load_order(here.storage, job.id).request
    name, _, wanted = job.model.partition("@")
    known = [one.preprocessing for one in here.catalogue.of(job.tenant).releases(name) if one.release == wanted]
    fit = known[0] if known else Preprocessing()  # a release may have left the catalogue; its jobs have not
    # The maps of `localization` cover the whole picture, those of the others what the network was shown of it.
    whole = job.method == "localization" or fit.fit == "stretch" or order.get("params", {}).get("view") == "whole"
    zoom = fit.resize / min(fit.size) if fit.resize and not whole else 1.0
    return {
        "job": job,
        "order": order,
        "overview": find_overview(job),
        "exhibits": arrange_exhibits(job),
        "rest": list_rest(job),
        "zoom": f"{zoom:.4f}",
        "fit": "fill" if whole else "cover",
        "snippets": write_snippets(order, request.host_url.rstrip("/")),
    }


def _match(sides: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    """What both jobs have of the same target and picture, then what only one has."""
    left, right = ({(one.title, one.image): one for one in side["exhibits"]} for side in sides)
    return [(left.get(place), right.get(place)) for place in {**left, **right}]


def _read_animation(job_id: str, name: str) -> bytes:
    here = services()
    manifest = find_manifest(job_id, caller().tenant, here)
    if name not in manifest.keys or not name.endswith(".webp"):
        raise NotFound(f"job {job_id} has no animation {name[:80]!r}")
    return here.storage.bucket.get(manifest.keys[name])
