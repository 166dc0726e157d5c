"""The catalogue over HTTP: which models there are, what they take, and what they know."""

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from api.openapi import describes
from api.services import services
from shared.catalogue import Preprocessing, Release
from shared.errors import NotFound, nearest
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
    """A model with its releases; layers and class names are those of the newest."""

    name: str
    releases: list[ReleaseView] = Field(description="Oldest first.")
    class_names: list[str] = Field(description="In the order of the scores.")
    layers: list[Layer] | None = Field(description="Named layers; null until a worker has loaded the release.")


@blueprint.get("")
@describes("List models", answers={200: Models})
def list_models() -> Response:
    """Every model of the catalogue."""
    catalogue = services().catalogue
    return _json(Models(items=[_summarise(catalogue.releases(name)) for name in catalogue.names]))


@blueprint.get("/<name>")
@describes("Get a model", answers={200: ModelView}, problems=(404, 503))
def get_model(name: str) -> Response:
    """Releases, input size, class names and layers of a model."""
    releases = services().catalogue.releases(name)
    if not releases:
        close = ", ".join(nearest(name, services().catalogue.names)) or "none is like it"
        raise NotFound(f"there is no model {name[:80]!r} (nearest: {close}); GET /v1/models lists those there are")
    newest = releases[-1]
    description = services().storage.load_description(newest.name, newest.release)
    view = ModelView(
        name=name,
        releases=[_view(release) for release in releases],
        class_names=newest.classes,
        layers=description.layers if description else None,
    )
    return _json(view)


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
