"""The first page, and the pages of new jobs and of models."""

from flask import render_template

from api.dependencies import get_services
from api.http.auth import caller, needs
from api.http.parsing import read_query
from api.web.forms.form_page import FormQuery, build_form_context
from api.web.job_list import list_recent, make_rows
from api.web.pages import blueprint
from api.web.results.atlas_page import AtlasQuery, build_atlas_context
from api.web.results.showcase import ShowcaseQuery, load_showcase
from archetype.contract.api_key import Scope
from archetype.contract.request import METHODS
from shared.errors import NotFound, Problem

MAX_RECENT = 6
"""Number of jobs that the first page shows."""


@blueprint.get("/")
@needs(Scope.READ)
def home() -> str:
    """Shows what a well-known network has learned, the ways to see the same of another network, and the newest jobs."""
    services, query, showcase = get_services(), read_query(ShowcaseQuery), load_showcase()
    recent = make_rows(list_recent(caller().tenant, services, MAX_RECENT), services)
    shown = showcase.search(query.search)
    return render_template("page/home.html", showcase=showcase, shown=shown, search=query.search, recent=recent)


@blueprint.get("/showcase/<int:index>")
@needs(Scope.READ)
def show_class(index: int) -> str:
    """Shows a class of the gallery of the first page: its image, the ascent, another seed, and how it is recognized."""
    showcase = load_showcase()
    entry = showcase.find(index)
    if entry is None:
        raise NotFound(f"the gallery has no class {index}; the first page lists its classes")
    place = showcase.classes.index(entry)
    near = {"previous": showcase.classes[place - 1], "next": showcase.classes[(place + 1) % len(showcase.classes)]}
    models = [releases[-1] for releases in get_services().catalogue.of(caller().tenant).models]
    drawable = [release for release in models if entry.name in release.classes]
    return render_template("page/showcase.html", showcase=showcase, entry=entry, near=near, drawable=drawable)


@blueprint.get("/new/<method>")
@needs(Scope.READ)
def new_job(method: str) -> str:
    """Shows the form of a method; with `job`, filled in with the request of that job."""
    if method not in METHODS:
        raise NotFound(f"there is no method {method[:40]!r}; the methods are {', '.join(METHODS)}")
    context = build_form_context(method, read_query(FormQuery), caller().tenant, get_services())
    return render_template("page/new.html", **context)


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
