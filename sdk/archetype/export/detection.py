"""Boxes in the formats of object detection: COCO, Pascal VOC and YOLO. Coordinates are not rounded."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from xml.etree import ElementTree

from archetype.contract.strict_json import dump_json
from archetype.export.boxes import BoxedImage, FoundBox, list_labels

Files = dict[str, str]
"""Contents of files by their paths."""


def write_coco(images: Sequence[BoxedImage]) -> Files:
    """Write one COCO file (Lin et al. 2014): boxes as left, top, width and height, with the probability as score."""
    labels = list_labels(images)
    annotations = [(number, box) for number, image in enumerate(images, 1) for box in image.boxes]
    document = {
        "images": [
            {"id": number, "file_name": image.file, "width": image.width, "height": image.height}
            for number, image in enumerate(images, 1)
        ],
        "categories": [{"id": number, "name": label} for number, label in enumerate(labels, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": labels.index(box.label) + 1,
                "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
                "area": (box.right - box.left) * (box.bottom - box.top),
                "iscrowd": 0,
                "score": box.probability,
            }
            for number, (image, box) in enumerate(annotations, 1)
        ],
    }
    return {"annotations.json": dump_json(document, indent=1)}


def write_voc(images: Sequence[BoxedImage]) -> Files:
    """Write an XML file per image (Everingham et al. 2010). Pixels count from 1, and both edges belong to a box."""
    return {f"{stem(image)}.xml": _write_annotation(image) for image in images}


def _write_annotation(image: BoxedImage) -> str:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = image.file
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(value)
    for box in image.boxes:
        found = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(found, "name").text = box.label
        edges = ElementTree.SubElement(found, "bndbox")
        places = {"xmin": box.left + 1, "ymin": box.top + 1, "xmax": box.right, "ymax": box.bottom}
        for name, place in places.items():
            ElementTree.SubElement(edges, name).text = f"{place:g}" if place % 1 else str(int(place))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def write_yolo(images: Sequence[BoxedImage]) -> Files:
    """Write a text file per image, and the classes: index, center, width and height, relative to the image."""
    labels = list_labels(images)
    files = {f"labels/{stem(image)}.txt": _write_lines(image, labels) for image in images}
    return files | {"classes.txt": "".join(f"{label}\n" for label in labels)}


def _write_lines(image: BoxedImage, labels: Sequence[str]) -> str:
    return "".join(f"{labels.index(box.label)} {' '.join(map(repr, _center(box, image)))}\n" for box in image.boxes)


def _center(box: FoundBox, image: BoxedImage) -> tuple[float, float, float, float]:
    return (
        (box.left + box.right) / 2 / image.width,
        (box.top + box.bottom) / 2 / image.height,
        (box.right - box.left) / image.width,
        (box.bottom - box.top) / image.height,
    )


def stem(image: BoxedImage) -> str:
    """Return the name of the image file without its suffix, with its folders as parts of the name."""
    path = PurePosixPath(image.file.replace("\\", "/"))
    parts = [part for part in (*path.parts[:-1], path.stem) if part not in ("/", "..", "")]
    return "-".join(parts) or image.id
