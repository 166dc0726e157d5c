"""The catalogue over HTTP: which models there are, what they take, and what they know."""

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from api.access import caller
from api.body import read_json, read_wait
from api.openapi import describes
from api.registering import register, wait_for_trial
from api.services import services
from shared.access import Scope
from shared.catalogue import Preprocessing, Release
from shared.checks import parse_release
from shared.errors import NotFound, RefusedRelease, nearest
from shared.registration import NewRelease, Registration, RegistrationState
from shared.storage import Layer

blueprint = Blueprint("models", __name__, url_prefix="/v1/models")


class ReleaseView(BaseModel):
    """A release of a model."""

    release: str
    architecture: str
    preprocessing: Preprocessing
    classes: int = Field(description="How many classes it tells apart.")
    sha256: str | None = Field(description="Digest of its weights; null until a worker has loaded it.")
    parameters: int | None = Field(description="How many weights; null until a worker has loaded it.")


class ModelSummary(BaseModel):
    """A model as the list shows it."""

    name: str
    releases: list[str] = Field(description="Oldest first.")
    classes: int
    size: tuple[int, int] = Field(description="Height and width of its input in pixels.")
    href: str


class Models(BaseModel):
    """The catalogue."""

    items: list[ModelSummary]


class ModelView(BaseModel):
    """A model with its releases; layers and class names are those of the newest, or of the one that was named."""

    name: str
    release: str = Field(description="Whose layers and class names these are.")
    releases: list[ReleaseView] = Field(description="Oldest first.")
    class_names: list[str] = Field(description="In the order of the scores.")
    layers: list[Layer] | None = Field(description="Named layers; null until a worker has loaded the release.")


@blueprint.get("")
@describes("List models", scope=Scope.READ, answers={200: Models}, problems=(503,))
def list_models() -> Response:
    """Every model of the catalogue."""
    catalogue = services().catalogue.of(caller().tenant)
    return _json(Models(items=[_summarise(catalogue.releases(name)) for name in catalogue.names]))


@blueprint.get("/<reference>")
@describes("Get a model", scope=Scope.READ, answers={200: ModelView}, problems=(404, 503))
def get_model(reference: str) -> Response:
    """Releases, input size, class names and layers of a model; of `name@release`, those of this release."""
    name, _, wanted = reference.partition("@")
    catalogue = services().catalogue.of(caller().tenant)
    releases = catalogue.releases(name)
    if not releases:
        close = ", ".join(nearest(name, catalogue.names)) or "none is like it"
        raise NotFound(f"there is no model {name[:80]!r} (nearest: {close}); GET /v1/models lists those there are")
    chosen = next((release for release in releases if release.release == wanted), None) if wanted else releases[-1]
    if chosen is None:
        known = ", ".join(release.release for release in releases)
        raise NotFound(f"model {name!r} has no release {wanted[:80]!r}; it has {known}")
    return _json(_describe(chosen, releases))


def _describe(chosen: Release, releases: list[Release]) -> ModelView:
    description = services().storage.load_description(chosen.name, chosen.release)
    return ModelView(
        name=chosen.name,
        release=chosen.release,
        releases=[_view(release) for release in releases],
        class_names=chosen.classes,
        layers=description.layers if description else None,
    )


@blueprint.post("")
@describes(
    "Register a release (operators)",
    scope=Scope.OPERATE,
    body=NewRelease,
    headers={"Prefer": "`wait=N`: answer when a worker has tried it, or after N seconds; 30 without it."},
    answers={201: ModelView, 202: Registration},
    problems=(400, 409, 411, 413, 415, 422, 429, 503),
)
def register_release() -> Response:
    """A worker loads it once; 201 when it works, 422 with the reason when it does not, 202 while that is open."""
    here = services()
    registration = register(parse_release(read_json()), caller(), here)
    decided = wait_for_trial(registration, here, read_wait(here.settings.max_wait_seconds, default=30))
    entry = decided.entry
    where = {"Location": f"/v1/models/{entry.reference}"}
    if decided.state is RegistrationState.ACCEPTED:
        here.registry.forget()
        view = _describe(entry, here.catalogue.of(caller().tenant).releases(entry.name))
        return Response(view.model_dump_json(), status=201, mimetype="application/json", headers=where)
    if decided.error is not None:
        raise RefusedRelease(decided.error.detail, *decided.error.errors)
    return Response(decided.model_dump_json(), status=202, mimetype="application/json", headers=where)


def _summarise(releases: list[Release]) -> ModelSummary:
    newest = releases[-1]
    return ModelSummary(
        name=newest.name,
        releases=[release.release for release in releases],
        classes=len(newest.classes),
        size=newest.preprocessing.size,
        href=f"/v1/models/{newest.name}",
    )


def _view(release: Release) -> ReleaseView:
    description = services().storage.load_description(release.name, release.release)
    return ReleaseView(
        release=release.release,
        architecture=release.architecture,
        preprocessing=release.preprocessing,
        classes=len(release.classes),
        sha256=description.sha256 if description else release.sha256,
        parameters=description.parameters if description else None,
    )


def _json(document: BaseModel) -> Response:
    return Response(document.model_dump_json(), mimetype="application/json")
