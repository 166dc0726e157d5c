"""Formats of object detection: COCO, Pascal VOC and YOLO. The class of an image is that of its largest object."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from archetype.contract.strict_json import JsonLimits, load_json
from archetype.datasets.labelled import (
    Edges,
    LabelledImage,
    LabelledObject,
    UnreadableDataset,
    choose_class,
    find_image,
    index_images,
)

COCO_LIMITS = JsonLimits(elements=50_000_000)
MAX_XML_BYTES = 5_000_000
YOLO_CLASSES = ("classes.txt", "obj.names", "data.yaml", "dataset.yaml")


def read_coco(folder: Path, annotations: Path | None = None) -> list[LabelledImage]:
    """Read a COCO file (Lin et al. 2014, arXiv 1405.0312). Crowds are left out, and images without objects.

    Args:
        folder: The folder of the images.
        annotations: The file; by default the only JSON file in the folder.

    Raises:
        UnreadableDataset: The file is not COCO, or names an image that does not exist.
    """
    source = annotations or _find_one(folder, "*.json")
    images = index_images(folder)
    try:
        document = load_json(source.read_text("utf-8-sig"), COCO_LIMITS)
        names = {each["id"]: str(each["name"]) for each in document["categories"]}
        files = {each["id"]: str(each["file_name"]) for each in document["images"]}
        objects: dict[Any, list[LabelledObject]] = defaultdict(list)
        for each in document["annotations"]:
            if not each.get("iscrowd"):
                left, top, width, height = map(float, each["bbox"])
                edges = (left, top, left + width, top + height)
                objects[each["image_id"]].append(LabelledObject(names[each["category_id"]], edges))
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableDataset(f"{source} is not a COCO file of boxes ({type(error).__name__}: {error})") from error
    return [
        _label(*find_image(images, files[image], source), found) for image, found in objects.items() if image in files
    ]


def read_voc(folder: Path, annotations: Path | None = None) -> list[LabelledImage]:
    """Read Pascal VOC (Everingham et al. 2010): an XML file per image. Pixels count from 1, edges belong to the box.

    Args:
        folder: The folder of the images.
        annotations: The folder of the XML files; by default the same, and all folders below.

    Raises:
        UnreadableDataset: A file is not VOC, or names an image that does not exist.
    """
    images = index_images(folder)
    read = []
    for source in sorted((annotations or folder).rglob("*.xml")):
        try:
            root = _parse_xml(source)
            file = root.findtext("filename") or f"{source.stem}.jpg"
            objects = [LabelledObject(_text(found, "name"), _read_edges(found)) for found in root.iter("object")]
        except (ElementTree.ParseError, TypeError, ValueError) as error:
            raise UnreadableDataset(f"{source} is not an annotation of Pascal VOC ({error})") from error
        if objects:
            read.append(_label(*find_image(images, file, source), objects))
    return read


def _parse_xml(path: Path) -> ElementTree.Element:
    """Read an XML file in UTF-8 without a document type, in which entities could grow without bound.

    Raises:
        ValueError: It is another file.
    """
    if path.stat().st_size > MAX_XML_BYTES:
        raise ValueError(f"more than {MAX_XML_BYTES} bytes")
    text = path.read_text("utf-8-sig")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it has a document type")
    return ElementTree.fromstring(text)  # noqa: S314


def _read_edges(found: ElementTree.Element) -> Edges:
    box = found.find("bndbox")
    if box is None:
        raise ValueError("an object has no bndbox")
    left, top, right, bottom = (float(_text(box, name)) for name in ("xmin", "ymin", "xmax", "ymax"))
    return left - 1, top - 1, right, bottom


def _text(element: ElementTree.Element, name: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise ValueError(f"an object has no {name}")
    return text


def read_yolo(folder: Path, annotations: Path | None = None) -> list[LabelledImage]:
    """Read YOLO (Ultralytics): a text file per image with class, center, width and height, relative to the image.

    Args:
        folder: The folder of the dataset, or of the images.
        annotations: The folder of the text files; by default, that of the images with `labels` for `images`.

    Raises:
        UnreadableDataset: There is no list of classes, or a line is not a box.
    """
    labels = _read_classes(folder, annotations)
    read = []
    for name, path in index_images(folder).items():
        source = _find_labels(path, folder, annotations)
        objects = list(_read_lines(source, labels)) if source.is_file() else []
        if objects:
            label, edges = choose_class(objects)
            read.append(LabelledImage(path, name, label, edges, is_relative=True))
    return read


def _find_labels(image: Path, folder: Path, annotations: Path | None) -> Path:
    if annotations is not None:
        below = (annotations / image.relative_to(folder)).with_suffix(".txt")
        return below if below.is_file() else annotations / f"{image.stem}.txt"
    parts = list(image.with_suffix(".txt").parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    apart = Path(*parts)
    return apart if apart.is_file() else image.with_suffix(".txt")


def _read_lines(source: Path, labels: dict[int, str]) -> Iterator[LabelledObject]:
    for number, line in enumerate(source.read_text("utf-8-sig").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            if len(fields) not in (5, 6):  # the sixth is a confidence
                raise ValueError(f"it has {len(fields)} numbers; polygons and key points are not supported")
            index, (x, y, width, height) = int(fields[0]), map(float, fields[1:5])
            label = labels[index]
        except (ValueError, KeyError) as error:
            raise UnreadableDataset(f"{source}:{number} is not class, center, width and height ({error})") from error
        yield LabelledObject(label, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _read_classes(folder: Path, annotations: Path | None) -> dict[int, str]:
    places = [
        place / name
        for place in (folder, folder.parent, *([annotations] if annotations else []))
        for name in YOLO_CLASSES
    ]
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        raise UnreadableDataset(f"{folder} has no list of classes; one of {', '.join(YOLO_CLASSES)} is needed")
    lines = source.read_text("utf-8-sig").splitlines()
    return _read_yaml_names(lines, source) if source.suffix == ".yaml" else dict(enumerate(map(str.strip, lines)))


def _read_yaml_names(lines: list[str], source: Path) -> dict[int, str]:
    """The field `names` of the description of a dataset: `names: [a, b]`, a list, or a map from index to name."""
    start = next((number for number, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        raise UnreadableDataset(f"{source} has no field 'names'")
    text = "\n".join(line.partition(" #")[0].rstrip() for line in lines[start:]).removeprefix("names:").strip()
    if text.startswith(("[", "{")):
        return _read_flow(text, source)
    names: dict[int, str] = {}
    for line in text.splitlines():
        entry = line.strip()
        key, separator, value = entry.partition(":")
        if entry.startswith("- "):
            names[len(names)] = entry[2:].strip(" '\"")
        elif separator and key.strip().isdigit():
            names[int(key)] = value.strip(" '\"")
        elif entry:
            break  # the next field
    return names


def _read_flow(text: str, source: Path) -> dict[int, str]:
    """The names in `[a, b]` or `{0: a, 1: b}`, over any number of lines."""
    inside, closed, _ = text[1:].partition("]" if text[0] == "[" else "}")
    if not closed:
        raise UnreadableDataset(f"{source}: the list of names does not end")
    entries = [entry.strip() for entry in inside.replace("\n", " ").split(",") if entry.strip()]
    if text[0] == "[":
        return {number: entry.strip("'\"") for number, entry in enumerate(entries)}
    try:
        return {int(key): value.strip(" '\"") for key, _, value in (entry.partition(":") for entry in entries)}
    except ValueError as error:
        raise UnreadableDataset(f"{source}: the names are not {{index: name}} ({error})") from error


def _find_one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise UnreadableDataset(f"{folder} has {len(found)} files {pattern}; name the one with the annotations")
    return found[0]


def _label(name: str, path: Path, objects: list[LabelledObject]) -> LabelledImage:
    label, edges = choose_class(objects)
    return LabelledImage(path, name, label, edges)
