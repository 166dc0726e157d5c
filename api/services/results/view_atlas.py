"""The atlas of a release: the class visualization of every class that a tenant's jobs have drawn."""

from pydantic import BaseModel, Field

from api.dependencies import Services
from api.services.describe_model import find_releases
from api.services.find_job import load_manifest
from archetype.contract.job import Artifact, Job, State, TargetClass
from shared.errors import NotFound
from shared.media.artifact_names import file_stem

MAX_JOBS = 100
"""Number of the newest jobs of a release that are searched."""


class AtlasEntry(BaseModel):
    """The class visualization of a class."""

    target: TargetClass = Field(description="The class.")
    job: str = Field(description="Id of the job that drew it.")
    href: str = Field(description="Path of the image.")
    probability: float | None = Field(description="Probability that the network gives the class for the image.")


class Atlas(BaseModel):
    """What jobs have drawn of the classes of a release."""

    model: str = Field(description="The release, as `name@release`.")
    classes: int = Field(description="Number of classes of the release.")
    items: list[AtlasEntry] = Field(description="The newest image of each class that was drawn, by index.")
    complete: bool = Field(
        description=f"Whether all class visualizations of the release were searched; false if only the {MAX_JOBS} "
        "newest jobs were."
    )


def find_atlas(reference: str, tenant: str, services: Services) -> Atlas:
    """Returns the atlas of a release, by `name` or `name@release`. Raises `NotFound`."""
    name, _, version = reference.partition("@")
    releases = find_releases(name, tenant, services)
    release = next((release for release in releases if release.release == version), None) if version else releases[-1]
    if release is None:
        raise NotFound(f"model {name!r} has no release {version[:80]!r}; GET /v1/models/{name} lists its releases")
    filters = {"method": "class_model", "model": release.reference, "state": State.SUCCEEDED.value}
    jobs, last = services.job_list.page(tenant, filters=filters, limit=MAX_JOBS, after=None)
    drawn: dict[int, AtlasEntry] = {}
    for job in jobs:
        for entry in _list_entries(job, services):
            drawn.setdefault(entry.target.index, entry)
    items = [drawn[index] for index in sorted(drawn)]
    return Atlas(model=release.reference, classes=len(release.classes), items=items, complete=last is None)


def _list_entries(job: Job, services: Services) -> list[AtlasEntry]:
    """The best image of each class of a job; none if the job was deleted meanwhile."""
    manifest = load_manifest(job.id, job.tenant, services)
    if manifest is None:
        return []
    targets = manifest.job.metrics.get("targets", [])
    shares = {entry["target"]["index"]: entry.get("probability") for entry in targets}
    return [
        AtlasEntry(
            target=artifact.target, job=job.id, href=artifact.href, probability=shares.get(artifact.target.index)
        )
        for artifact in manifest.job.artifacts
        if artifact.target is not None and _is_best(artifact, artifact.target)
    ]


def _is_best(artifact: Artifact, target: TargetClass) -> bool:
    """Whether an artifact is the first image of a class: the others have a number or a role in their names."""
    return artifact.name == f"{file_stem(target)}.png"
