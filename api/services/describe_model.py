"""Models as the API shows them: releases, input sizes, class names and layers."""

from pydantic import BaseModel, Field

from api.dependencies import Services
from archetype.contract.model import Capability, Layer, OutputKind, Preprocessing
from archetype.contract.problem import nearest
from shared.catalogue.release import Release
from shared.errors import NotFound


class ReleaseView(BaseModel):
    """A release of a model."""

    release: str
    architecture: str
    preprocessing: Preprocessing
    classes: int = Field(description="Number of classes.")
    sha256: str | None = Field(description="Digest of the weights; null until a worker has loaded the release.")
    parameters: int | None = Field(description="Number of weights; null until a worker has loaded the release.")


class ModelSummary(BaseModel):
    """A model in the list of models."""

    name: str
    releases: list[str] = Field(description="Oldest first.")
    classes: int
    size: tuple[int, int] = Field(description="Height and width of the input in pixels.")
    href: str


class Models(BaseModel):
    """The models of the catalogue."""

    items: list[ModelSummary]


class ModelView(BaseModel):
    """A model with its releases, and the layers and class names of one release."""

    name: str
    release: str = Field(description="The release of `class_names` and `layers`: the requested one, or the newest.")
    ready: bool = Field(description="Whether a worker has loaded and tried the release.")
    releases: list[ReleaseView] = Field(description="Oldest first.")
    class_names: list[str] = Field(description="In the order of the scores.")
    layers: list[Layer] | None = Field(description="Named layers; null until a worker has loaded the release.")
    output: OutputKind | None = Field(description="What the network returns; null until a worker has tried it.")
    capabilities: list[Capability] | None = Field(
        description="Which methods and kinds work with the release, and why others do not; null until a worker has "
        "tried it."
    )
    notes: list[str] = Field(description="What was assumed or noticed when the release was loaded and tried.")


def list_models(tenant: str, services: Services) -> Models:
    """Returns every model of a tenant's catalogue."""
    return Models(items=[_summarize(releases) for releases in services.catalogue.of(tenant).models])


def find_model(reference: str, tenant: str, services: Services) -> ModelView:
    """Returns a model by `name` or `name@release`. Raises `NotFound`."""
    name, _, version = reference.partition("@")
    releases = find_releases(name, tenant, services)
    release = next((release for release in releases if release.release == version), None) if version else releases[-1]
    if release is None:
        versions = ", ".join(release.release for release in releases)
        raise NotFound(f"model {name!r} has no release {version[:80]!r}; its releases are {versions}")
    return describe_release(release, releases, services)


def find_releases(name: str, tenant: str, services: Services) -> list[Release]:
    """Returns the releases of a model, oldest first. Raises `NotFound`."""
    catalogue = services.catalogue.of(tenant)
    releases = catalogue.releases(name)
    if not releases:
        similar = ", ".join(nearest(name, catalogue.names)) or "none is similar"
        raise NotFound(f"there is no model {name[:80]!r} (nearest: {similar}); GET /v1/models lists all models")
    return releases


def describe_release(release: Release, releases: list[Release], services: Services) -> ModelView:
    """Returns the model of a release, with the class names and layers of this release."""
    description = services.storage.load_description(release)
    return ModelView(
        name=release.name,
        release=release.release,
        ready=description is not None,
        releases=[_view_release(release, services) for release in releases],
        class_names=release.classes,
        layers=description.layers if description else None,
        output=description.output if description else None,
        capabilities=description.capabilities if description else None,
        notes=description.notes if description else [],
    )


def _summarize(releases: list[Release]) -> ModelSummary:
    newest = releases[-1]
    return ModelSummary(
        name=newest.name,
        releases=[release.release for release in releases],
        classes=len(newest.classes),
        size=newest.preprocessing.size,
        href=f"/v1/models/{newest.name}",
    )


def _view_release(release: Release, services: Services) -> ReleaseView:
    description = services.storage.load_description(release)
    return ReleaseView(
        release=release.release,
        architecture=release.architecture,
        preprocessing=release.preprocessing,
        classes=len(release.classes),
        sha256=description.sha256 if description else release.sha256,
        parameters=description.parameters if description else None,
    )
