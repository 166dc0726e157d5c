"""Folders with one subfolder per class, with boxes in `boxes.json` and attributes in `attributes.csv`."""

import csv
from pathlib import Path

from archetype.contract.strict_json import load_json
from archetype.contract.upload import has_image_name
from archetype.datasets.labelled import LabelledImage, UnreadableDataset

BOXES = "boxes.json"
"""File in the folder with the true boxes: `{"CLASS/FILE": [[left, top, right, bottom]]}`, in pixels."""

ATTRIBUTES = "attributes.csv"
"""File in the folder with a column `file` (`CLASS/FILE`) and one column for each attribute."""


def read_image_folder(folder: Path, annotations: Path | None = None) -> list[LabelledImage]:
    """Read a folder with one subfolder per class.

    Args:
        folder: The folder.
        annotations: A file of boxes like `boxes.json`, if it is elsewhere.

    Raises:
        UnreadableDataset: A file has no valid boxes or attributes.
    """
    source = annotations or folder / BOXES
    boxes = load_json(source.read_text("utf-8-sig")) if source.is_file() else {}
    attributes = read_attributes(folder / ATTRIBUTES)
    images = []
    for path in find_images(folder):
        name = path.relative_to(folder).as_posix()
        try:
            edges = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in boxes.get(name, []))
        except (TypeError, ValueError, AttributeError) as error:
            raise UnreadableDataset(f"{source}: the boxes of {name!r} are not [[left, top, right, bottom]]") from error
        images.append(LabelledImage(path, name, path.parent.name, edges, attributes.get(name, {})))
    return images


def find_images(folder: Path) -> list[Path]:
    """Return the images of a folder, which lie in one subfolder per class."""
    return sorted(path for path in folder.glob("*/*") if has_image_name(path.relative_to(folder).as_posix()))


def read_attributes(path: Path) -> dict[str, dict[str, str]]:
    """Return the attributes of each image, by `CLASS/FILE`; nothing if there is no file.

    An empty cell means that the image does not have the attribute.

    Raises:
        UnreadableDataset: The file has no column `file`, or a row has more cells than there are columns.
    """
    if not path.is_file():
        return {}
    rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    if any("file" not in row or None in row for row in rows):
        raise UnreadableDataset(
            f"{path} needs a header with the column 'file', and as many cells in each row as columns"
        )
    return {row["file"]: {name: value for name, value in row.items() if name != "file" and value} for row in rows}
