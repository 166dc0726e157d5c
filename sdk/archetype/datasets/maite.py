"""Datasets of image classification as the protocols of MAITE describe them, in both directions.

A dataset has a length, items (image, target, metadata), and `metadata` with `id` and `index2label`. Any object with
these will do: the package `maite` is not needed, but numpy and Pillow are, which the client does not install.

Source: https://mit-ll-ai-technology.github.io/maite, protocols of image classification, version 0.10.
"""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from archetype.datasets.formats import READERS, FormatName
from archetype.datasets.labelled import UnreadableDataset

TABLE = "probes.csv"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Mode of Pillow by number of channels."""


class Dataset(Protocol):
    """What a dataset needs: items (image, target, metadata), a length, and `metadata` with `index2label`.

    An image is an array (C, H, W), with pixels from 0 to 255 or, as floats, from 0 to 1. A target is an array
    (classes,).
    """

    @property
    def metadata(self) -> Any:
        """A mapping with `id` and `index2label`."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, ind: int, /) -> tuple[Any, Any, Any]:
        """Return an item."""


class ProbeDataset:
    """The probes of an audit as a dataset for MAITE's tools. An image is read when it is asked for.

    Args:
        folder: Folder of the images.
        name: Format of the classes: see docs/integrations/datasets.md.
        classes: Names of the classes in the order of the targets; by default those that occur, sorted.
        annotations: File or folder of the annotations, if it is elsewhere.

    Attributes:
        metadata: `id`, the name of the folder, and `index2label`.

    Raises:
        UnreadableDataset: The files are not in the format, there are no images, or a class is not in `classes`.
    """

    def __init__(
        self,
        folder: Path | str,
        name: FormatName = "folder",
        classes: Sequence[str] | None = None,
        annotations: Path | None = None,
    ) -> None:
        self._images = READERS[name](Path(folder), annotations)
        if not self._images:
            raise UnreadableDataset(f"{folder} has no images with a class in the format {name!r}")
        found = sorted({image.label for image in self._images})
        self._classes = {label: index for index, label in enumerate(classes or found)}
        if missing := [label for label in found if label not in self._classes]:
            raise UnreadableDataset(f"{folder} has images of classes that are not named: {', '.join(missing)}")
        self.metadata = {"id": Path(folder).name, "index2label": {i: label for label, i in self._classes.items()}}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def __getitem__(self, ind: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], dict[str, Any]]:
        """Return an image (3, H, W) from 0 to 255, its target (classes,) with 1 at its class, and its metadata.

        The metadata are `id`, the path of the file in the folder, and the attributes of the image.

        Raises:
            IndexError: There is no such image.
            UnreadableDataset: The file is no image that Pillow can read.
        """
        probe = self._images[ind]
        try:
            with Image.open(probe.path) as opened:
                pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))  # (H, W, 3)
        except (UnidentifiedImageError, OSError) as error:
            raise UnreadableDataset(f"{probe.path} cannot be read: {error}") from error
        target = np.zeros(len(self._classes), np.float32)
        target[self._classes[probe.label]] = 1
        return pixels.transpose(2, 0, 1).copy(), target, {**probe.attributes, "id": probe.name}


def save_probes(dataset: Dataset, folder: Path | str, attributes: Collection[str] = ()) -> Path:
    """Save a dataset as probes of an audit: images, and a table of the format `csv`.

    Args:
        dataset: The dataset. The class of an item is the largest number of its target.
        folder: An empty folder, or one that does not exist.
        attributes: Metadata of the items that become attributes of the probes.

    Returns:
        Path of the table.

    Raises:
        UnreadableDataset: The folder is not empty, or an item is not an image with a class; the message has its index.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    if any(place.iterdir()):
        raise UnreadableDataset(f"{place} is not empty")
    names = dataset.metadata.get("index2label")
    if not isinstance(names, Mapping):
        raise UnreadableDataset("the metadata of the dataset have no index2label, the names of the classes")
    with TemporaryDirectory(dir=place.parent) as unfinished:
        rows = list(_save_items(dataset, names, Path(unfinished), attributes))
        with Path(unfinished, TABLE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["file", "class", *attributes])
            writer.writeheader()
            writer.writerows(rows)
        for path in Path(unfinished).iterdir():
            path.rename(place / path.name)
    return place / TABLE


def _save_items(
    dataset: Dataset, names: Mapping[int, str], folder: Path, attributes: Collection[str]
) -> Iterator[dict[str, Any]]:
    for index in range(len(dataset)):
        image, target, metadata = dataset[index]
        try:
            label = names[int(np.argmax(_read_target(target)))]
            picture = _make_picture(np.asarray(image))
        except (KeyError, ValueError) as error:
            raise UnreadableDataset(f"item {index} of the dataset: {error}") from error
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", str(metadata.get("id", "")))[-100:]
        file = f"{index:06d}-{name.removesuffix('.png')}.png"
        picture.save(folder / file)
        yield {"file": file, "class": label} | {key: metadata[key] for key in attributes if key in metadata}


def _read_target(target: Any) -> NDArray[Any]:
    array = np.asarray(target)
    if array.ndim != 1 or not array.size or not np.any(array):
        raise ValueError(f"the target has the shape {array.shape} and no class; it needs (classes,)")
    return array


def _make_picture(pixels: NDArray[Any]) -> Image.Image:
    """Return the picture of an array (C, H, W)."""
    if pixels.ndim != 3 or pixels.shape[0] not in MODES or 0 in pixels.shape:
        raise ValueError(f"the image has the shape {pixels.shape}; it needs (C, H, W) with 1, 3 or 4 channels")
    if pixels.dtype.kind not in "uif":
        raise ValueError(f"the image has pixels of the type {pixels.dtype}; it needs integers or floats")
    largest = 1 if pixels.dtype.kind == "f" else 255
    if not (pixels.min() >= 0 and pixels.max() <= largest):  # also false for nan
        raise ValueError(f"the image has pixels outside of 0 to {largest}; undo its normalization")
    bytes_ = np.round(pixels * (255 / largest)).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(bytes_.squeeze(2) if pixels.shape[0] == 1 else bytes_)
