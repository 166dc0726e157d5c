"""Datasets in the formats of other tools, exact to the pixel: what `archetype export` writes is read again."""

import io
import json
import zipfile
from pathlib import Path

import pytest

from archetype.datasets.formats import READERS, FormatName, open_dataset
from archetype.datasets.labelled import LabelledImage, UnreadableDataset
from archetype.export.boxes import BoxedImage, FoundBox
from archetype.export.formats import FORMATS

WIDTH, HEIGHT = 80, 60
BOXES = {
    "bee": [(10.0, 5.0, 30.0, 45.0), (0.0, 0.0, 4.0, 4.0)],
    "lemon": [(0.0, 0.0, 80.0, 60.0)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two images, one of them in a subfolder."""
    for name in ("images/bee 1.jpg", "images/more/lemon.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def write(folder: Path, name: FormatName) -> None:
    """Writes the boxes with the export of the client."""
    files = ("images/bee 1.jpg", "images/more/lemon.png")
    images = [
        BoxedImage(
            file, file, WIDTH, HEIGHT, [FoundBox(label, index, *edges, probability=0.5) for edges in BOXES[label]]
        )
        for index, (file, label) in enumerate(zip(files, BOXES, strict=True))
    ]
    if name == "voc":  # its annotations name files without folders
        images = [BoxedImage(each.id, each.file.rpartition("/")[2], WIDTH, HEIGHT, each.boxes) for each in images]
    if name == "yolo":  # its annotations lie like the images
        places = ("bee 1", "more/lemon")
        files_of_labels = {
            f"labels/{place}.txt": FORMATS["yolo"](images)[f"labels/images-{place.replace('/', '-')}.txt"]
            for place in places
        }
        written = files_of_labels | {"classes.txt": FORMATS["yolo"](images)["classes.txt"]}
    else:
        written = FORMATS[name](images)
    for file, text in written.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)


def read(path: Path, name: FormatName, annotations: Path | None = None) -> dict[str, LabelledImage]:
    with open_dataset(path, name, annotations) as images:
        return {image.label: image for image in images}


def check(images: dict[str, LabelledImage]) -> None:
    for label, boxes in BOXES.items():
        found = [tuple(box.values()) for box in images[label].scale_boxes(WIDTH, HEIGHT)]
        assert found == [pytest.approx(edges, abs=1e-9) for edges in boxes]


@pytest.mark.parametrize("name", ["coco", "voc", "yolo"])
def test_exported_boxes_are_read_again(folder: Path, name: FormatName) -> None:
    write(folder, name)
    images = read(folder, name)
    assert sorted(images) == ["bee", "lemon"]
    assert images["lemon"].name == "images/more/lemon.png"
    check(images)


@pytest.mark.parametrize("name", ["coco", "voc", "yolo"])
def test_an_archive_is_read_like_its_folder(folder: Path, tmp_path: Path, name: FormatName) -> None:
    write(folder, name)
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path != archive:
                file.write(path, path.relative_to(folder))
    with open_dataset(archive, name) as images:
        assert sorted(image.path.read_bytes().decode() for image in images) == [
            "images/bee 1.jpg",
            "images/more/lemon.png",
        ]


def test_annotations_can_be_elsewhere(folder: Path) -> None:
    write(folder, "coco")
    (folder / "annotations.json").rename(folder.parent / "elsewhere.json")
    check(read(folder, "coco", folder.parent / "elsewhere.json"))


def test_the_class_of_an_image_is_that_of_its_largest_object_and_crowds_do_not_count(folder: Path) -> None:
    def annotate(number: int, category: int, size: float, **more: int) -> dict[str, object]:
        return {"id": number, "image_id": 1, "category_id": category, "bbox": [0, 0, size, size], **more}

    document = {
        "images": [{"id": 1, "file_name": "bee 1.jpg"}, {"id": 2, "file_name": "without objects.jpg"}],
        "categories": [{"id": 5, "name": "bee"}, {"id": 6, "name": "lemon"}],
        "annotations": [
            annotate(1, 5, 9),
            annotate(2, 6, 10),
            annotate(3, 6, 5),
            annotate(4, 5, 50, iscrowd=1),
            annotate(5, 5, 3),
        ],
    }
    (folder / "instances.json").write_text(json.dumps(document))
    images = read(folder, "coco")
    assert list(images) == ["lemon"]
    assert images["lemon"].boxes == ((0, 0, 10, 10), (0, 0, 5, 5))


@pytest.mark.parametrize(
    "text",
    [
        "names: [bee, 'lemon']  # classes\nnc: 2\n",
        "path: .\nnames:\n  0: bee\n  1: lemon\nnc: 2\n",
        "names:\n- bee\n- lemon\nnc: 2\n",
        "names: {0: bee, 1: lemon}\n",
        "nc: 2\nnames: [\n  'bee',  # the first\n  lemon\n]\npath: .\n",
    ],
)
def test_the_classes_of_yolo_can_be_in_its_description(folder: Path, text: str) -> None:
    write(folder, "yolo")
    (folder / "classes.txt").unlink()
    (folder / "data.yaml").write_text(text)
    check(read(folder, "yolo"))


def test_rows_of_a_table_are_boxes_and_other_columns_are_attributes(folder: Path) -> None:
    (folder / "table.csv").write_text(
        "file,class,left,top,right,bottom,lighting\n"
        "images/bee 1.jpg,bee,10,5,30,45,night\n"
        "bee 1.jpg,bee,0,0,4,4,night\n"
        "lemon.png,lemon,0,0,80,60,\n"
    )
    images = read(folder, "csv")
    check(images)
    assert images["bee"].attributes == {"lighting": "night"}
    assert images["lemon"].attributes == {}


def test_the_metadata_of_a_hugging_face_folder_has_labels_and_objects(folder: Path) -> None:
    rows = [
        {"file_name": "images/bee 1.jpg", "label": "bee", "objects": {"bbox": [[10, 5, 20, 40], [0, 0, 4, 4]]}},
        {"file_name": "images/more/lemon.png", "label": "lemon", "objects": {"bbox": [[0, 0, 80, 60]]}, "camera": "a"},
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    images = read(folder, "huggingface")
    check(images)
    assert images["lemon"].attributes == {"camera": "a"}


def test_a_hugging_face_folder_without_metadata_has_its_classes_as_folders(tmp_path: Path) -> None:
    for name in ("train/bee/1.png", "train/lemon/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    assert sorted(read(tmp_path, "huggingface")) == ["bee", "lemon"]


def test_edges_outside_of_an_image_are_moved_to_its_edge_and_empty_boxes_left_out() -> None:
    image = LabelledImage(Path("a"), "a", "bee", ((-3, 2, 100, 50), (90, 0, 95, 5)))
    assert image.scale_boxes(WIDTH, HEIGHT) == [{"left": 0, "top": 2, "right": 80, "bottom": 50}]


VOC = "<annotation><filename>bee 1.jpg</filename><object><name>bee</name>{}</object></annotation>"
FAULTS: list[tuple[FormatName, dict[str, str], str]] = [
    ("coco", {}, "has 0 files"),
    ("coco", {"a.json": "{}", "b.json": "{}"}, "has 2 files"),
    ("coco", {"a.json": "[]"}, "not a COCO file"),
    ("coco", {"a.json": '{"images": [], "categories": [], "annotations": [{"bbox": [1]}]}'}, "not a COCO file"),
    ("voc", {"a.xml": "<annotation>"}, "not an annotation of Pascal VOC"),
    ("voc", {"a.xml": VOC.format("")}, "no bndbox"),
    ("voc", {"a.xml": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}, "document type"),
    ("voc", {}, "no images with a class"),
    ("yolo", {}, "no list of classes"),
    ("yolo", {"classes.txt": "bee\n", "labels/bee 1.txt": "0 0.5\n"}, r"bee 1.txt:1 is not class, center"),
    ("yolo", {"classes.txt": "bee\n", "labels/bee 1.txt": "3 0.5 0.5 1 1\n"}, "bee 1.txt:1"),
    ("yolo", {"data.yaml": "nc: 2\n", "labels/bee 1.txt": "0 0.5 0.5 1 1\n"}, "no field 'names'"),
    ("csv", {"a.csv": "file,width\nbee 1.jpg,3\n"}, "a column named class or label or target"),
    ("csv", {"a.csv": "file,class\nmissing.jpg,bee\n"}, "names 'missing.jpg', and there is no image"),
    ("csv", {"a.csv": "file,class,left,top,right,bottom\nbee 1.jpg,bee,1,2,3,x\n"}, "row 1 has no valid box"),
    ("csv", {"a.csv": "file,class\nbee 1.jpg,bee\nbee 1.jpg,lemon\n"}, "has the classes 'bee' and 'lemon'"),
    ("csv", {"a.csv": "file,class\nbee 1.jpg,bee,more\n"}, "row 1 does not have the columns"),
    ("huggingface", {"metadata.jsonl": '{"file_name": "bee 1.jpg", "label": 1, "objects": [1]}'}, "no valid box"),
    ("huggingface", {"metadata.jsonl": "[1]"}, "row 1 does not have the columns"),
    ("yolo", {"classes.txt": "bee\n", "labels/bee 1.txt": "0 0 0 1 0 1 1 0 1\n"}, "polygons"),
    ("yolo", {"data.yaml": "names: [bee,\n", "labels/bee 1.txt": "0 0.5 0.5 1 1\n"}, "does not end"),
    ("yolo", {"data.yaml": "names: {a: bee}\n", "labels/bee 1.txt": "0 0.5 0.5 1 1\n"}, "index: name"),
    ("huggingface", {"metadata.jsonl": "{"}, "not JSON Lines"),
    ("folder", {}, "subfolders that are named by their classes"),
]


@pytest.mark.parametrize(("name", "files", "reason"), FAULTS)
def test_what_is_not_in_the_format_is_named(folder: Path, name: FormatName, files: dict[str, str], reason: str) -> None:
    if name == "folder":
        folder = folder / "images" / "more"
    for file, text in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
    with pytest.raises(UnreadableDataset, match=reason), open_dataset(folder, name):
        pass


def test_two_images_of_one_name_are_not_confused(folder: Path) -> None:
    (folder / "images" / "lemon.png").write_bytes(b"another")
    (folder / "a.csv").write_text("file,class\nlemon.png,lemon\n")
    with pytest.raises(UnreadableDataset, match="2 images of this name"), open_dataset(folder, "csv"):
        pass
    (folder / "a.csv").write_text("file,class\nimages/more/lemon.png,lemon\n")
    assert read(folder, "csv")["lemon"].name == "images/more/lemon.png"


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    (tmp_path / "b.zip").write_bytes(make_archive()[:-40] + bytes(18) + make_archive()[-22:])
    with (
        pytest.raises(UnreadableDataset, match=r"cannot be extracted|neither"),
        open_dataset(tmp_path / "b.zip", "csv"),
    ):
        pass
    for path in (tmp_path / "a.zip", tmp_path / "missing"):
        with pytest.raises(UnreadableDataset, match="neither a folder nor a ZIP archive"), open_dataset(path, "folder"):
            pass


def make_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("bee/1.png", b"x" * 100)
    return file.getvalue()


def test_an_archive_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../../bee/evil.png", b"x")
    with open_dataset(tmp_path / "a.zip", "folder") as images:
        assert [image.label for image in images] == ["bee"]
    assert not list(tmp_path.parent.rglob("evil.png"))


def test_every_format_has_a_reader_that_explains_an_empty_folder(tmp_path: Path) -> None:
    for name in READERS:
        with pytest.raises(UnreadableDataset), open_dataset(tmp_path, name):
            pass
