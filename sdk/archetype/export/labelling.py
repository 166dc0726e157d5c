"""Boxes for tools in which people look at labels and correct them: FiftyOne and Label Studio."""

from collections.abc import Sequence
from typing import Any

from archetype.contract.strict_json import dump_json
from archetype.export.boxes import BoxedImage, FoundBox, list_labels
from archetype.export.detection import Files, stem


def write_fiftyone(images: Sequence[BoxedImage]) -> Files:
    """Write a `FiftyOneImageDetectionDataset`: boxes as left, top, width and height, relative to the image.

    FiftyOne wants the images in the folder `data` beside the file, under names that begin like the keys of `labels`.
    """
    labels = list_labels(images)
    document = {
        "classes": labels,
        "labels": {
            stem(image): [
                {
                    "label": labels.index(box.label),
                    "bounding_box": _relative(box, image, 1),
                    "confidence": box.probability,
                }
                for box in image.boxes
            ]
            for image in images
        },
    }
    return {"labels.json": dump_json(document, indent=1)}


def write_label_studio(images: Sequence[BoxedImage]) -> Files:
    """Write tasks of Label Studio with the boxes as predictions, in percent of the image.

    The labeling interface needs an `Image` named `image` and `RectangleLabels` named `label`, as in its template for
    object detection. The address of an image is its file name; change it to where Label Studio finds the images.
    """
    tasks = [
        {
            "data": {"image": image.file},
            "predictions": [
                {"model_version": "archetype", "result": [_write_region(box, image) for box in image.boxes]}
            ],
        }
        for image in images
    ]
    return {"tasks.json": dump_json(tasks, indent=1)}


def _write_region(box: FoundBox, image: BoxedImage) -> dict[str, Any]:
    x, y, width, height = _relative(box, image, 100)
    return {
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "score": box.probability,
        "value": {
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "rotation": 0,
            "rectanglelabels": [box.label],
        },
    }


def _relative(box: FoundBox, image: BoxedImage, whole: int) -> list[float]:
    """Left, top, width and height of a box, where the size of the image is `whole`."""
    return [
        box.left / image.width * whole,
        box.top / image.height * whole,
        (box.right - box.left) / image.width * whole,
        (box.bottom - box.top) / image.height * whole,
    ]
