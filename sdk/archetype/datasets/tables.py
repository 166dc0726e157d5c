"""Tables of images: CSV with metadata, and the `metadata.csv` or `metadata.jsonl` of a Hugging Face image folder."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archetype.contract.strict_json import load_json
from archetype.datasets.labelled import Edges, LabelledImage, UnreadableDataset, find_image, index_images

FILES, LABELS = ("file", "file_name", "path", "image"), ("class", "label", "target")
EDGES = ("left", "top", "right", "bottom")
METADATA = ("metadata.csv", "metadata.jsonl")


def read_csv(folder: Path, annotations: Path | None = None) -> list[LabelledImage]:
    """Read a CSV file with the columns `file` and `class`, and optionally `left`, `top`, `right`, `bottom` in pixels.

    Several rows of a file are several boxes. All other columns are attributes.

    Args:
        folder: The folder of the images.
        annotations: The file; by default the only CSV file in the folder.

    Raises:
        UnreadableDataset: A column is missing, or a row names an image that does not exist.
    """
    found = [annotations] if annotations else sorted(folder.glob("*.csv"))
    if len(found) != 1:
        raise UnreadableDataset(f"{folder} has {len(found)} CSV files; name the one with the annotations")
    return _collect(folder, found[0], csv.DictReader(found[0].read_text("utf-8-sig").splitlines()))


def read_huggingface(folder: Path, annotations: Path | None = None) -> list[LabelledImage]:
    """Read a Hugging Face image folder: `metadata.csv` or `metadata.jsonl` with `file_name` and `label`.

    `objects` with `bbox` (left, top, width, height) and `categories` gives boxes. Without metadata, the folder has one
    subfolder per class.

    Args:
        folder: The folder of the images.
        annotations: The file of metadata, if it is elsewhere.

    Raises:
        UnreadableDataset: A column is missing, or a row names an image that does not exist.
    """
    source = annotations or next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if source is None:
        return [
            LabelledImage(path, name, path.parent.name) for name, path in index_images(folder).items() if "/" in name
        ]
    lines = source.read_text("utf-8-sig").splitlines()
    if source.suffix == ".csv":
        return _collect(folder, source, csv.DictReader(lines))
    try:
        rows = [load_json(line) for line in lines if line.strip()]
    except ValueError as error:
        raise UnreadableDataset(f"{source} is not JSON Lines ({error})") from error
    return _collect(folder, source, iter(rows))


def _collect(folder: Path, source: Path, rows: Iterator[Mapping[str, Any]]) -> list[LabelledImage]:
    images, read = index_images(folder), dict[str, LabelledImage]()
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or None in row:
            raise UnreadableDataset(f"{source}: row {number} does not have the columns of the header")
        file, label = (_find(row, names, source) for names in (FILES, LABELS))
        name, path = find_image(images, str(row[file]), source)
        before = read.get(name)
        if before is not None and before.label != str(row[label]):
            raise UnreadableDataset(
                f"{source}: {name!r} has the classes {before.label!r} and {row[label]!r}; a probe has one class"
            )
        try:
            boxes = (*(before.boxes if before else ()), *_read_edges(row))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UnreadableDataset(f"{source}: row {number} has no valid box ({error})") from error
        attributes = {
            key: str(value)
            for key, value in row.items()
            if key not in (file, label, "objects", *EDGES) and value not in (None, "")
        }
        read[name] = LabelledImage(path, name, str(row[label]), boxes, attributes)
    return list(read.values())


def _find(row: Mapping[str, Any], names: tuple[str, ...], source: Path) -> str:
    found = next((name for name in names if row.get(name) not in (None, "")), None)
    if found is None:
        raise UnreadableDataset(f"{source} needs a column named {' or '.join(names)}, without empty cells")
    return found


def _read_edges(row: Mapping[str, Any]) -> tuple[Edges, ...]:
    """The boxes of a row. Raises `ValueError`, `TypeError` and `KeyError`."""
    if all(row.get(name) not in (None, "") for name in EDGES):
        left, top, right, bottom = (float(row[name]) for name in EDGES)
        return ((left, top, right, bottom),)
    objects = row.get("objects")
    if isinstance(objects, str):
        objects = load_json(objects)
    found = [tuple(map(float, box)) for box in (objects or {}).get("bbox", [])]
    return tuple((left, top, left + width, top + height) for left, top, width, height in found)
