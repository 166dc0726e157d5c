"""Boxes for FiftyOne and Label Studio, exact to the pixel."""

import json

import pytest

from archetype.export.boxes import BoxedImage, FoundBox
from archetype.export.labelling import write_fiftyone, write_label_studio

IMAGES = [
    BoxedImage("a" * 64, "more/a bee.jpg", 80, 60, [FoundBox("bee", 7, 10, 5, 30, 45, probability=0.75)]),
    BoxedImage("b" * 64, "nothing.jpg", 80, 60),
]


def test_fiftyone_has_relative_boxes_by_image() -> None:
    document = json.loads(write_fiftyone(IMAGES)["labels.json"])
    assert document["classes"] == ["bee"]
    assert list(document["labels"]) == ["more-a bee", "nothing"]
    (box,) = document["labels"]["more-a bee"]
    assert (box["label"], box["confidence"]) == (0, 0.75)
    left, top, width, height = box["bounding_box"]
    assert (left * 80, top * 60, width * 80, height * 60) == pytest.approx((10, 5, 20, 40), abs=1e-12)
    assert document["labels"]["nothing"] == []


def test_label_studio_has_a_task_per_image_with_its_boxes_in_percent() -> None:
    first, second = json.loads(write_label_studio(IMAGES)["tasks.json"])
    assert first["data"] == {"image": "more/a bee.jpg"}
    (region,) = first["predictions"][0]["result"]
    value = region["value"]
    pixels = (value["x"] * 0.8, value["y"] * 0.6, value["width"] * 0.8, value["height"] * 0.6)
    assert pixels == pytest.approx((10, 5, 20, 40), abs=1e-12)
    assert (value["rectanglelabels"], region["score"]) == (["bee"], 0.75)
    assert (region["original_width"], region["original_height"]) == (80, 60)
    assert second["predictions"][0]["result"] == []
