"""Images with a class, true boxes and attributes, from whatever format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archetype.contract.upload import has_image_name

Edges = tuple[float, float, float, float]
"""Left, top, right, bottom; the right and bottom edges are exclusive."""


class UnreadableDataset(ValueError):
    """The files are not in the format. The message names the file, and what is wrong with it."""


@dataclass(frozen=True)
class LabelledImage:
    """An image with its class.

    Attributes:
        path: The file.
        name: Path of the file in the dataset.
        label: Its class.
        boxes: True boxes of objects of the class in pixels; relative to the size of the image if `is_relative`.
        attributes: Properties by name.
        is_relative: Whether the edges of boxes are from 0 to 1.
    """

    path: Path
    name: str
    label: str
    boxes: tuple[Edges, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_relative: bool = False

    def scale_boxes(self, width: int, height: int) -> list[dict[str, float]]:
        """Return the boxes in pixels of an image of a size. Edges outside of the image are moved to its edge."""
        x, y = (width, height) if self.is_relative else (1, 1)
        scaled = [(left * x, top * y, right * x, bottom * y) for left, top, right, bottom in self.boxes]
        kept = [
            (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
            for left, top, right, bottom in scaled
        ]
        return [
            dict(zip(("left", "top", "right", "bottom"), edges, strict=True))
            for edges in kept
            if edges[2] > edges[0] and edges[3] > edges[1]
        ]


@dataclass(frozen=True)
class LabelledObject:
    """An object in an image."""

    label: str
    edges: Edges

    @property
    def area(self) -> float:
        """Area of the box."""
        left, top, right, bottom = self.edges
        return (right - left) * (bottom - top)


Reader = Callable[[Path, Path | None], list[LabelledImage]]
"""Reads a dataset: the folder of the images, and the file or folder of the annotations if it is elsewhere."""


def choose_class(objects: Sequence[LabelledObject]) -> tuple[str, tuple[Edges, ...]]:
    """Return the class of the largest object of an image, and the boxes of all its objects of this class."""
    label = max(objects, key=lambda found: found.area).label
    return label, tuple(found.edges for found in objects if found.label == label)


def index_images(folder: Path) -> dict[str, Path]:
    """Return all image files below a folder by their path in it."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in paths.items() if has_image_name(name)}


def find_image(images: Mapping[str, Path], name: str, source: Path) -> tuple[str, Path]:
    """Return name and path of the image that an annotation names: by its path, or by its file name if that is unique.

    Raises:
        UnreadableDataset: There is no such image, or there are several.
    """
    wanted = name.replace("\\", "/").removeprefix("./")
    if wanted in images:
        return wanted, images[wanted]
    last = wanted.rpartition("/")[2]
    found = [each for each in images if each.rpartition("/")[2] == last]
    if len(found) != 1:
        what = "no image" if not found else f"{len(found)} images"
        raise UnreadableDataset(f"{source} names {name!r}, and there is {what} of this name in the folder")
    return found[0], images[found[0]]
