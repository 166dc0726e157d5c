"""Boxes in the formats of object detection, exact to the pixel."""

import hashlib
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from archetype.contract.job import Job, Progress, State, now
from archetype.export.boxes import BoxedImage, NotExportable, find_names, list_labels, read_boxes
from archetype.export.detection import write_coco, write_voc, write_yolo

ID = "a" * 64


def make_pair(target: int, label: str, box: dict[str, float] | None, **changes: Any) -> dict[str, Any]:
    found = {"index": target, "name": label}
    return {"image": ID, "target": found, "probability": 0.75, "box": box, "size": [60, 80], **changes}


def make_job(pairs: list[dict[str, Any]], method: str = "localization", state: State = State.SUCCEEDED) -> Job:
    return Job(
        id="0" * 26, tenant="default", method=method, model="m@1", state=state, created_at=now(), progress=Progress(),
        metrics={"pairs": pairs},
    )  # fmt: skip


PAIRS = [
    make_pair(7, "bee", {"left": 10, "top": 5, "right": 30, "bottom": 45}),
    make_pair(2, "lemon", {"left": 0, "top": 0, "right": 80, "bottom": 60.5}),
    make_pair(3, "daisy", None),
]


@pytest.fixture
def images() -> list[BoxedImage]:
    return read_boxes(make_job(PAIRS), {ID: "a bee.jpg"})


def test_boxes_are_read_by_image_and_an_image_without_a_box_stays(images: list[BoxedImage]) -> None:
    (image,) = images
    assert (image.file, image.width, image.height) == ("a bee.jpg", 80, 60)
    assert [box.label for box in image.boxes] == ["bee", "lemon"]
    assert list_labels(images) == ["lemon", "bee"]
    (alone,) = read_boxes(make_job([PAIRS[2]]))
    assert (alone.file, alone.boxes) == (ID, [])


def test_members_of_an_archive_are_separate_images() -> None:
    pairs = [make_pair(1, "bee", None, name=name, image="b" * 64) for name in ("one/a.png", "two/a.png")]
    images = read_boxes(make_job(pairs))
    assert [image.file for image in images] == ["one/a.png", "two/a.png"]
    assert list(write_voc(images)) == ["one-a.xml", "two-a.xml"]


def test_a_name_does_not_lead_out_of_the_folder() -> None:
    (image,) = read_boxes(make_job([make_pair(1, "bee", None, name="/../..\\x/a.png")]))
    assert list(write_voc([image])) == ["x-a.xml"]


def test_coco_has_left_top_width_and_height(images: list[BoxedImage]) -> None:
    document = json.loads(write_coco(images)["annotations.json"])
    assert document["images"] == [{"id": 1, "file_name": "a bee.jpg", "width": 80, "height": 60}]
    assert document["categories"] == [{"id": 1, "name": "lemon"}, {"id": 2, "name": "bee"}]
    bee, lemon = document["annotations"]
    assert (bee["category_id"], bee["bbox"], bee["area"], bee["score"]) == (2, [10, 5, 20, 40], 800, 0.75)
    assert lemon["bbox"] == [0, 0, 80, 60.5]


def test_voc_counts_pixels_from_one_and_includes_both_edges(images: list[BoxedImage]) -> None:
    files = write_voc(images)
    assert list(files) == ["a bee.xml"]
    root = ElementTree.fromstring(files["a bee.xml"])
    assert root.findtext("size/width") == "80"
    edges = [[part.text for part in found] for found in root.iter("bndbox")]
    assert edges == [["11", "6", "30", "45"], ["1", "1", "80", "60.5"]]


def test_yolo_is_relative_to_the_image(images: list[BoxedImage]) -> None:
    files = write_yolo(images)
    assert files["classes.txt"] == "lemon\nbee\n"
    bee, _ = files["labels/a bee.txt"].splitlines()
    index, *values = bee.split()
    x, y, width, height = map(float, values)
    assert index == "1"
    assert ((x - width / 2) * 80, (x + width / 2) * 80) == pytest.approx((10, 30), abs=1e-12)
    assert ((y - height / 2) * 60, (y + height / 2) * 60) == pytest.approx((5, 45), abs=1e-12)


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (make_job([], method="saliency"), "is a saliency job"),
        (make_job([], state=State.RUNNING), "running"),
        (make_job([{name: value for name, value in PAIRS[0].items() if name != "size"}]), "earlier version"),
    ],
)
def test_other_jobs_are_refused_with_the_reason(job: Job, reason: str) -> None:
    with pytest.raises(NotExportable, match=reason):
        read_boxes(job)


def test_image_files_are_recognized_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "one.PNG").write_bytes(b"one")
    (tmp_path / "notes.txt").write_bytes(b"two")
    assert find_names(tmp_path) == {hashlib.sha256(b"one").hexdigest(): "one.PNG"}
