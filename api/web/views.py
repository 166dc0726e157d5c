"""The pages of new jobs and of models."""

from flask import render_template

from api.dependencies import get_services
from api.http.auth import caller, needs
from api.http.parsing import read_query
from api.web.form_page import FormQuery, build_form_context
from api.web.job_list import list_recent, make_rows
from api.web.pages import blueprint
from api.web.results.atlas_page import AtlasQuery, build_atlas_context
from archetype.contract.api_key import Scope
from archetype.contract.request import METHODS
from shared.errors import NotFound, Problem

MAX_RECENT = 6
"""Number of jobs that the first page shows."""


@blueprint.get("/")
@needs(Scope.READ)
def home() -> str:
    """Shows the introduction, the form of a class visualization, and the newest jobs."""
    services = get_services()
    recent = make_rows(list_recent(caller().tenant, services, MAX_RECENT), services)
    context = build_form_context("class_model", read_query(FormQuery), caller().tenant, services)
    return render_template("page/new.html", **context, welcome=True, recent=recent)


@blueprint.get("/new/<method>")
@needs(Scope.READ)
def new_job(method: str) -> str:
    """Shows the form of a method; with `job`, filled in with the request of that job."""
    if method not in METHODS:
        raise NotFound(f"there is no method {method[:40]!r}; the methods are {', '.join(METHODS)}")
    context = build_form_context(method, read_query(FormQuery), caller().tenant, get_services())
    return render_template("page/new.html", **context, welcome=False)


@blueprint.get("/models")
@needs(Scope.READ)
def list_models() -> str:
    """Lists the models of the catalogue."""
    return render_template("page/models.html", models=get_services().catalogue.of(caller().tenant).models)


@blueprint.get("/models/<reference>")
@needs(Scope.READ)
def show_model(reference: str) -> str:
    """Shows a model with its layers and classes, and what was drawn of each class."""
    services, query = get_services(), read_query(AtlasQuery)
    try:
        release = services.catalogue.of(caller().tenant).find(reference)
    except Problem as problem:
        raise NotFound(problem.detail) from problem
    releases = services.catalogue.of(caller().tenant).releases(release.name)
    description = services.storage.load_description(release)
    atlas = build_atlas_context(release, query, caller().tenant, services)
    return render_template("page/model.html", release=release, releases=releases, description=description, **atlas)
