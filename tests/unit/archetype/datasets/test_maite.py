"""Datasets for MAITE, verified by MAITE itself, and datasets of MAITE as probes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from maite.protocols.image_classification import Dataset as MaiteDataset
from maite.spotcheck import SpotcheckError, spotcheck_component
from maite.tasks import evaluate
from PIL import Image

from archetype.datasets.formats import open_dataset
from archetype.datasets.labelled import UnreadableDataset
from archetype.datasets.maite import TABLE, ProbeDataset, save_probes

PIXELS = np.arange(3 * 5 * 4, dtype=np.uint8).reshape(5, 4, 3)


class Items:
    """A dataset of given items."""

    def __init__(self, *items: tuple[Any, Any, dict[str, Any]], names: dict[int, str] | None = None) -> None:
        self.items = items
        self.metadata = {"id": "given", "index2label": names or {0: "bee", 1: "lemon"}}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, ind: int, /) -> tuple[Any, Any, dict[str, Any]]:
        return self.items[ind]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of lemons and one of a bee, with a table."""
    for name in ("a.png", "b.png", "more/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS).save(tmp_path / name)
    (tmp_path / "probes.csv").write_text("file,class,light\na.png,lemon,day\nb.png,bee,\nmore/c.png,lemon,night\n")
    return tmp_path


def test_probes_have_the_protocol_of_maite(folder: Path) -> None:
    checked: Callable[[Any], Any] = spotcheck_component(MaiteDataset)
    dataset = checked(ProbeDataset(folder, "csv"))
    items = [dataset[index] for index in range(len(dataset))]
    assert dataset.metadata == {"id": folder.name, "index2label": {0: "bee", 1: "lemon"}}
    assert [np.argmax(target) for _, target, _ in items] == [1, 0, 1]
    assert [metadata["id"] for *_, metadata in items] == ["a.png", "b.png", "more/c.png"]
    assert [metadata.get("light") for *_, metadata in items] == ["day", None, "night"]
    for image, *_ in items:
        assert image.dtype == np.uint8
        assert np.array_equal(image, PIXELS.transpose(2, 0, 1))


def test_the_check_of_maite_finds_a_dataset_that_is_none() -> None:
    checked: Callable[[Any], Any] = spotcheck_component(MaiteDataset)
    with pytest.raises(SpotcheckError):
        checked(Items((PIXELS[0], np.eye(2)[0], {"id": 1})))[0]  # an image of two dimensions


def test_maite_evaluates_a_model_with_probes(folder: Path) -> None:
    class Constant:
        metadata: ClassVar = {"id": "constant"}

        def __call__(self, batch: Any) -> Any:
            return [np.array([0.25, 0.75]) for _ in batch]

    class Accuracy:
        metadata: ClassVar = {"id": "accuracy"}

        def __init__(self) -> None:
            self.hits: list[bool] = []

        def reset(self) -> None:
            self.hits.clear()

        def update(self, preds: Any, targets: Any, metadata: Any) -> None:  # noqa: ARG002
            self.hits += [bool(np.argmax(a) == np.argmax(b)) for a, b in zip(preds, targets, strict=True)]

        def compute(self) -> dict[str, float]:
            return {"accuracy": sum(self.hits) / len(self.hits)}

    found, *_ = evaluate(model=Constant(), metric=Accuracy(), dataset=ProbeDataset(folder, "csv"), batch_size=2)
    assert found == {"accuracy": pytest.approx(2 / 3)}


def test_classes_have_the_order_that_is_given(folder: Path) -> None:
    dataset = ProbeDataset(folder, "csv", classes=["lemon", "wasp", "bee"])
    assert dataset.metadata["index2label"] == {0: "lemon", 1: "wasp", 2: "bee"}
    assert [int(np.argmax(dataset[index][1])) for index in range(3)] == [0, 2, 0]
    with pytest.raises(UnreadableDataset, match="classes that are not named: bee"):
        ProbeDataset(folder, "csv", classes=["lemon"])


def test_what_is_no_image_is_named(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"no image")
    dataset = ProbeDataset(folder, "csv")
    with pytest.raises(UnreadableDataset, match=r"b\.png cannot be read"):
        dataset[1]
    with pytest.raises(IndexError):
        dataset[3]


def test_a_dataset_of_maite_becomes_probes(tmp_path: Path) -> None:
    red = np.zeros((3, 6, 7))
    red[0] = 1.0
    dataset = Items(
        (red, np.array([0.2, 0.8]), {"id": "a/b c.png", "light": "day", "other": 1}),
        (np.full((1, 6, 7), 255, np.uint8), [1, 0], {"id": 17}),
        (np.zeros((4, 6, 7), np.float32), np.array([0, 1]), {"id": 17, "light": "night"}),
    )
    table = save_probes(dataset, tmp_path / "probes", attributes=["light"])
    assert table == tmp_path / "probes" / TABLE
    with open_dataset(table.parent, "csv") as images:
        assert [image.label for image in images] == ["lemon", "bee", "lemon"]
        assert [dict(image.attributes) for image in images] == [{"light": "day"}, {}, {"light": "night"}]
        assert [image.name for image in images] == ["000000-a_b_c.png", "000001-17.png", "000002-17.png"]
        with Image.open(images[0].path) as first, Image.open(images[1].path) as second:
            assert (first.size, first.getpixel((3, 3))) == ((7, 6), (255, 0, 0))
            assert (second.mode, second.getpixel((3, 3))) == ("L", 255)


def test_probes_that_were_saved_are_the_same_dataset(folder: Path, tmp_path: Path) -> None:
    first = ProbeDataset(folder, "csv")
    again = ProbeDataset(save_probes(first, tmp_path / "saved", attributes=["light"]).parent, "csv")
    assert len(again) == len(first)
    assert again.metadata["index2label"] == first.metadata["index2label"]
    for index in range(len(first)):
        (image, target, metadata), (image_2, target_2, metadata_2) = first[index], again[index]
        assert np.array_equal(image, image_2)
        assert np.array_equal(target, target_2)
        assert metadata.get("light") == metadata_2.get("light")


GOOD = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("image", "target", "message"),
    [
        (GOOD[0], [1, 0], r"shape \(4, 4\); it needs \(C, H, W\)"),
        (np.zeros((2, 4, 4)), [1, 0], "with 1, 3 or 4 channels"),
        (np.zeros((3, 0, 4)), [1, 0], "with 1, 3 or 4 channels"),
        (GOOD - 1.5, [1, 0], "outside of 0 to 1; undo its normalization"),
        (np.full((3, 4, 4), np.nan), [1, 0], "outside of 0 to 1"),
        (np.full((3, 4, 4), 256), [1, 0], "outside of 0 to 255"),
        (GOOD, [0, 0], "no class"),
        (GOOD, 1, "no class"),
        (GOOD, [0, 0, 1], "2"),
        (GOOD > 0, [1, 0], "pixels of the type bool"),
    ],
)
def test_what_cannot_be_a_probe_is_named_by_its_index(image: Any, target: Any, message: str, tmp_path: Path) -> None:
    dataset = Items((GOOD, [1, 0], {"id": 0}), (image, target, {"id": 1}))
    with pytest.raises(UnreadableDataset, match=f"item 1 of the dataset: .*{message}"):
        save_probes(dataset, tmp_path / "probes")


def test_a_folder_with_files_is_not_written_to(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(UnreadableDataset, match="is not empty"):
        save_probes(Items((GOOD, [1, 0], {"id": 0})), folder)
    assert sorted(folder.rglob("*")) == before


def test_a_dataset_needs_names_of_classes(tmp_path: Path) -> None:
    dataset = Items((GOOD, [1, 0], {"id": 0}))
    dataset.metadata = {"id": "given"}
    with pytest.raises(UnreadableDataset, match="no index2label"):
        save_probes(dataset, tmp_path / "probes")


def test_after_an_error_the_folder_can_be_used_again(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match="item 1"):
        save_probes(Items((GOOD, [1, 0], {"id": 0}), (GOOD, [0, 0], {"id": 1})), tmp_path / "probes")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "probes"]
    save_probes(Items((GOOD, [1, 0], {})), tmp_path / "probes")
    assert sorted(path.name for path in (tmp_path / "probes").iterdir()) == ["000000-.png", TABLE]


def test_images_are_turned_upright_as_in_an_audit(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    (tmp_path / "bee").mkdir()
    image.save(tmp_path / "bee" / "a.jpg", exif=exif)
    assert ProbeDataset(tmp_path)[0][0].shape == (3, 20, 10)
