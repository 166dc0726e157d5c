"""Arranges the artifacts of a job for the gallery: one item for each image, target, layer and candidate."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api.web.results.figures import find_entry, list_layers
from archetype.contract.job import Artifact, Job, TargetClass
from shared.media.artifact_names import file_name, file_stem

T = TypeVar("T")

MAX_ITEMS = 200
"""Number of items of the gallery on a page."""

OVERVIEWS = ("contact-sheet.png", "filters.png")
ROLES = r"heat-map|overlay|figure|curve|box|mask|difference|marked|side-by-side|patch-\d+|step-\d+"
REST = re.compile(rf"(?:-(?P<number>\d+))?(?:-(?P<role>{ROLES}))?\.(?P<suffix>\w+)")
"""What follows the class or the layer in the name of a file: the number of the candidate, the role, the suffix."""

UNKNOWN = re.compile(rf"(?P<part>.+?)(?:-(?P<role>{ROLES}))?\.(?P<suffix>\w+)")
"""The name of a file of an image if neither its class nor its layer is known."""


class GalleryQuery(BaseModel):
    """The query string of a page of results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: int = Field(default=1, ge=1)


class Key(NamedTuple):
    """What distinguishes the items of a gallery.

    Attributes:
        image: Id of the image; empty if there is none.
        target: Index of the class; None if there is none.
        layer: The layer; empty if there is none.
        number: The number of the candidate, from 1.
    """

    image: str
    target: int | None
    layer: str
    number: int


class NamedFile(NamedTuple):
    """What the name of an artifact says.

    Attributes:
        key: The item that it belongs to.
        role: What the file shows; `animation` or `image` if the name does not say more.
    """

    key: Key
    role: str


@dataclass
class GalleryItem:
    """All artifacts of one image, target, layer and candidate.

    Attributes:
        images: The artifacts that are shown, by role.
        extras: Further images: patches and stills.
        files: All artifacts.
        metrics: The metrics of the item.
    """

    key: Key
    target: TargetClass | None
    images: dict[str, Artifact] = field(default_factory=dict)
    extras: list[Artifact] = field(default_factory=list)
    files: list[Artifact] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> str | None:
        """Id of the image of the item."""
        return self.key.image or None

    @property
    def title(self) -> str:
        """The class or the layer of the item."""
        name = self.target.name if self.target else self.key.layer or "whole image"
        return f"{name} ({self.key.number})" if self.key.number > 1 else name


def find_overview(job: Job) -> Artifact | None:
    """Returns the image that shows all results of a job at once."""
    return next((artifact for name in OVERVIEWS for artifact in job.artifacts if artifact.name == name), None)


def arrange_gallery(job: Job) -> list[GalleryItem]:
    """Groups the artifacts of a job, in the order in which the job created them."""
    items: dict[Key, GalleryItem] = {}
    layers = list_layers(job.metrics)
    for artifact in job.artifacts:
        if _is_about_whole_job(artifact):
            continue
        key, role = read_name(artifact, layers)
        if key not in items:
            metrics = find_entry(job.metrics, image=key.image, target=key.target, layer=key.layer, number=key.number)
            items[key] = GalleryItem(key, artifact.target, metrics=metrics)
        _add(items[key], artifact, role)
    return list(items.values())


def cut_page(items: Sequence[T], number: int) -> tuple[Sequence[T], int]:
    """Returns the items of a page of the gallery, counted from 1, and the number of pages."""
    return items[(number - 1) * MAX_ITEMS : number * MAX_ITEMS], max(1, math.ceil(len(items) / MAX_ITEMS))


def list_rest(job: Job) -> list[Artifact]:
    """Returns the artifacts that belong to the whole job."""
    return [artifact for artifact in job.artifacts if _is_about_whole_job(artifact)]


def read_name(artifact: Artifact, layers: Collection[str]) -> NamedFile:
    """Reads which item of the gallery an artifact belongs to, and its role.

    Args:
        artifact: An artifact of an image or a target.
        layers: The layers that the metrics of the job name.
    """
    image, target = artifact.image or "", artifact.target.index if artifact.target else None
    name = artifact.name.removeprefix(f"{image[:12]}-") if image else artifact.name
    starts = {file_stem(artifact.target): ""} if artifact.target else {file_name(layer): layer for layer in layers}
    for start, layer in starts.items():
        match = REST.fullmatch(name, len(start)) if name.startswith(start) else None
        if match is not None:
            return NamedFile(Key(image, target, layer, int(match["number"] or 1)), _choose_role(match))
    match = UNKNOWN.fullmatch(name)
    part = match["part"] if match else name
    return NamedFile(Key(image, target, "" if target is not None else part, 1), _choose_role(match))


def _choose_role(match: re.Match[str] | None) -> str:
    if match is None:
        return "file"
    if match["role"]:
        return match["role"].replace("-", "_")
    return {"webp": "animation", "png": "image"}.get(match["suffix"], "file")


def _is_about_whole_job(artifact: Artifact) -> bool:
    return artifact.target is None and artifact.image is None


def _add(item: GalleryItem, artifact: Artifact, role: str) -> None:
    item.files.append(artifact)
    if not artifact.media_type.startswith("image/") or role == "file":
        return
    if role in item.images or role.startswith(("patch_", "step_")):
        item.extras.append(artifact)
    else:
        item.images[role] = artifact
