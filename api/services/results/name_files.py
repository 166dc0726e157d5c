"""Names of a job's files for people: with the names of the uploaded images instead of their ids."""

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath
from typing import Any

from api.dependencies import Services
from archetype.contract.job import Artifact, Job
from shared.errors import Problem
from shared.process.threads import map_in_threads

READERS = 6
"""Number of image descriptions that are read from the store at a time."""

UNSAFE = re.compile(r"[^\w.() +@=-]+")
MAX_STEM = 80
"""Characters that are replaced in the name of an image, and how many of the others are kept."""

ID_START = 12
"""Characters of an image's id with which the names of its files begin."""


def find_image_names(job: Job, images: Iterable[str], services: Services) -> dict[str, str]:
    """Returns the names of images by their ids; of images in archives from the metrics, else as they were uploaded.

    An image whose name is not known, or cannot be read, is left out.
    """
    names = {entry["image"]: entry["name"] for entry in _list_entries(job.metrics) if "name" in entry}
    uploads = services.storage.of(job.tenant)

    def find(image: str) -> str | None:
        try:
            found = uploads.describe_image(image)
        except (Problem, ValueError):  # neither a page nor an archive fails for a name that cannot be read
            return None
        return found.name if found else None

    missing = [image for image in dict.fromkeys(images) if image not in names]
    found = zip(missing, map_in_threads(find, missing, READERS), strict=True)
    return names | {image: name for image, name in found if name is not None}


def name_file(artifact: Artifact, names: dict[str, str], used: Collection[str] = ()) -> str:
    """Returns the name of an artifact with the name of its image instead of the image's id.

    Args:
        artifact: The artifact.
        names: The names of images by their ids.
        used: Names of other files. If the result is one of them, the artifact keeps its own name, which is unique.
    """
    name = names.get(artifact.image or "")
    start = f"{artifact.image[:ID_START]}-" if artifact.image else ""
    if name is None or not artifact.name.startswith(start):
        return artifact.name
    stem = UNSAFE.sub("_", PurePosixPath(name.replace("\\", "/")).stem).lstrip(".")[:MAX_STEM] or "image"
    shown = f"{stem}-{artifact.name.removeprefix(start)}"
    return artifact.name if shown in used else shown


def _list_entries(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of all images."""
    return [
        entry
        for name in ("pairs", "pictures")
        for entry in metrics.get(name) or []
        if isinstance(entry, dict) and "image" in entry
    ]
