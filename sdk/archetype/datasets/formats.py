"""The formats by name, and datasets in ZIP archives."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from archetype.datasets.detection import read_coco, read_voc, read_yolo
from archetype.datasets.image_folder import read_image_folder
from archetype.datasets.labelled import LabelledImage, Reader, UnreadableDataset
from archetype.datasets.tables import read_csv, read_huggingface

FormatName = Literal["folder", "coco", "voc", "yolo", "csv", "huggingface"]
READERS: dict[FormatName, Reader] = {
    "folder": read_image_folder,
    "coco": read_coco,
    "voc": read_voc,
    "yolo": read_yolo,
    "csv": read_csv,
    "huggingface": read_huggingface,
}

MAX_BYTES = 20_000_000_000
"""Largest size of the files in an archive."""


@contextmanager
def open_dataset(path: Path, name: FormatName, annotations: Path | None = None) -> Iterator[list[LabelledImage]]:
    """Read a dataset in a folder or ZIP archive. The files of an archive exist until the block ends.

    Args:
        path: The folder, or the archive.
        name: The format.
        annotations: The file or folder of the annotations, if it is elsewhere.

    Yields:
        The images with their classes.

    Raises:
        UnreadableDataset: The files are not in the format, or there are no images.
    """
    if name not in READERS:
        raise UnreadableDataset(f"there is no format {name!r}; it is one of {', '.join(READERS)}")
    if not zipfile.is_zipfile(path) if path.is_file() else not path.is_dir():
        raise UnreadableDataset(f"{path} is neither a folder nor a ZIP archive")
    with tempfile.TemporaryDirectory() as extracted:
        if path.is_file():
            _extract(path, Path(extracted))
            path = Path(extracted)
        images = READERS[name](path, annotations)
        if not images:
            hint = "; put them into subfolders that are named by their classes" if name == "folder" else ""
            raise UnreadableDataset(f"{path} has no images with a class in the format {name!r}{hint}")
        yield images


def _extract(path: Path, target: Path) -> None:
    """Extract an archive. `zipfile` keeps names within the folder, and makes no links."""
    try:
        _extract_all(path, target)
    except UnreadableDataset:
        raise
    except Exception as error:  # `zipfile` raises anything for a damaged archive
        raise UnreadableDataset(f"{path} cannot be extracted ({type(error).__name__}: {error})") from error


def _extract_all(path: Path, target: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise UnreadableDataset(
                f"the files of {path} have more than {MAX_BYTES} bytes; extract it, and name the folder"
            )
        archive.extractall(target)
