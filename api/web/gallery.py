"""Arranges the artifacts of a job for the gallery: one item for each pair of image and target."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from archetype.contract.job import Artifact, Job, TargetClass

T = TypeVar("T")

MAX_ITEMS = 200
"""Number of items of the gallery on a page."""

OVERVIEWS = ("contact-sheet.png", "filters.png")
SUFFIXES = {
    "heat_map": "-heat-map.png",
    "overlay": "-overlay.png",
    "curve": "-curve.png",
    "box": "-box.png",
    "mask": "-mask.png",
    "difference": "-difference.png",
    "marked": "-marked.png",
    "side_by_side": "-side-by-side.png",
    "animation": ".webp",
    "image": ".png",
}
"""The role of an artifact by the end of its name; the first match counts."""


@dataclass
class GalleryItem:
    """All artifacts of one image and one target.

    Attributes:
        images: The artifacts that are shown, by role.
        extras: Further images with a role that is already taken: another candidate, a patch, a still.
        files: All artifacts.
        metrics: The metrics of the target if the job is a class visualization: probability, score.
    """

    title: str
    target: TargetClass | None
    image: str | None
    images: dict[str, Artifact] = field(default_factory=dict)
    extras: list[Artifact] = field(default_factory=list)
    files: list[Artifact] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)


def find_overview(job: Job) -> Artifact | None:
    """Returns the image that shows all results of a job at once."""
    return next((artifact for name in OVERVIEWS for artifact in job.artifacts if artifact.name == name), None)


def arrange_gallery(job: Job) -> list[GalleryItem]:
    """Groups the artifacts of a job by image and target, in the order in which the job created them."""
    items: dict[tuple[str, int | None], GalleryItem] = {}
    metrics = _read_target_metrics(job)
    for artifact in job.artifacts:
        if _is_about_whole_job(artifact):
            continue
        key = (artifact.image or "", artifact.target.index if artifact.target else None)
        if key not in items:
            measured = metrics.get(key[1], {}) if artifact.image is None else {}
            items[key] = GalleryItem(_make_title(artifact), artifact.target, artifact.image, metrics=measured)
        _add(items[key], artifact)
    return list(items.values())


def cut_page(items: Sequence[T], number: int) -> tuple[Sequence[T], int]:
    """Returns the items of a page of the gallery, counted from 1, and the number of pages."""
    return items[(number - 1) * MAX_ITEMS : number * MAX_ITEMS], max(1, math.ceil(len(items) / MAX_ITEMS))


def list_rest(job: Job) -> list[Artifact]:
    """Returns the artifacts that belong to the whole job."""
    return [artifact for artifact in job.artifacts if _is_about_whole_job(artifact)]


def _is_about_whole_job(artifact: Artifact) -> bool:
    return artifact.target is None and artifact.image is None


def _add(item: GalleryItem, artifact: Artifact) -> None:
    item.files.append(artifact)
    if not artifact.media_type.startswith("image/") or artifact.media_type == "image/gif":
        return
    role = next(name for name, suffix in SUFFIXES.items() if artifact.name.endswith(suffix))
    if role in item.images:
        item.extras.append(artifact)
    else:
        item.images[role] = artifact


def _make_title(artifact: Artifact) -> str:
    if artifact.target is not None:
        return artifact.target.name
    return f"image {artifact.image[:8]}" if artifact.image else "whole job"


def _read_target_metrics(job: Job) -> dict[int | None, dict[str, Any]]:
    """Returns the metrics of each target, by the index of the class."""
    targets = job.metrics.get("targets")
    if not isinstance(targets, list):
        return {}
    return {entry["target"]["index"]: entry for entry in targets if isinstance(entry, dict) and "target" in entry}
