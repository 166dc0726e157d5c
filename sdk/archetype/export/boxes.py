"""The boxes that a `localization` job has found, by image."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archetype.contract.job import Job, State
from archetype.contract.upload import SUFFIXES


class NotExportable(ValueError):
    """A result that cannot be exported, with the reason."""


@dataclass(frozen=True)
class FoundBox:
    """A box in the pixels of its image. The right and bottom edges lie after the last column and row.

    Attributes:
        label: The class.
        index: Its index.
        probability: The probability of the class for the whole image, 0 to 1.
    """

    label: str
    index: int
    left: float
    top: float
    right: float
    bottom: float
    probability: float


@dataclass
class BoxedImage:
    """An image with its boxes, those of the most probable classes first.

    Attributes:
        file: Name of the file; the id if the name is not known.
    """

    id: str
    file: str
    width: int
    height: int
    boxes: list[FoundBox] = field(default_factory=list)


def read_boxes(job: Job, names: Mapping[str, str] | None = None) -> list[BoxedImage]:
    """Read the boxes of a job.

    Args:
        job: A `localization` job that has succeeded.
        names: Names of the image files, by id.

    Raises:
        NotExportable: The job has no boxes, or an earlier version has computed it.
    """
    if job.method != "localization" or job.state is not State.SUCCEEDED:
        raise NotExportable(
            f"{job.id} is a {job.method} job ({job.state}); boxes are those of a localization job that has succeeded"
        )
    images: dict[str, BoxedImage] = {}
    for pair in job.metrics.get("pairs", []):
        if "size" not in pair:
            raise NotExportable(f"{job.id} was computed by an earlier version, which did not store sizes; run it again")
        height, width = pair["size"]
        key = pair.get("name", pair["image"])
        name = pair.get("name") or (names or {}).get(pair["image"]) or pair["image"]
        image = images.setdefault(key, BoxedImage(pair["image"], name, width, height))
        if pair["box"] is not None:
            target = pair["target"]
            box = FoundBox(target["name"], target["index"], **pair["box"], probability=pair["probability"])
            image.boxes.append(box)
    return list(images.values())


def find_names(folder: Path) -> dict[str, str]:
    """Return the names of the image files in a folder by the ids that they have in the service."""
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in _list_images(folder)}


def _list_images(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def list_labels(images: Iterable[BoxedImage]) -> list[str]:
    """Return the classes of all boxes, in the order of their indices."""
    found = {(box.index, box.label) for image in images for box in image.boxes}
    return [label for _, label in sorted(found)]
