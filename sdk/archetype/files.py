"""Files: writes artifacts into a folder, and never outside of it; packs folders that are uploaded."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import IO

from archetype.errors import ServerError

CHUNK_BYTES = 1 << 20


def find_path(folder: Path, name: str) -> Path:
    """Return the path of an artifact in a folder.

    Raises:
        ServerError: The name is not the name of a file in this folder, such as `../x`, `/x` or `C:x`.
    """
    plain = name not in ("", ".", "..") and "\0" not in name
    if not plain or PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
        raise ServerError(f"{name!r} is not the name of a file in {folder}; it is not saved")
    return folder / name


def write_file(path: Path, data: bytes) -> None:
    """Write a file at once: a reader sees all of it or none. A link at this path is replaced, not followed."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        file.write(data)
    part.replace(path)


FOLDER_SUFFIXES = (".json", ".safetensors", ".bin")
"""Files of a model folder that are uploaded: its configuration and its weights."""


@contextmanager
def packed(path: Path) -> Iterator[Path]:
    """Yield a file as it is, or a temporary ZIP file of several, which exists until the block ends.

    A model folder is packed, and an ONNX file NAME.onnx with its weights in NAME.onnx.data. The same files give the
    same ZIP file. Weights are not compressed, because that saves little.
    """
    members = _list_members(path)
    if members == [path]:
        yield path
        return
    with TemporaryDirectory(prefix="archetype-") as folder:
        file = Path(folder) / f"{path.resolve().name}.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for member in members:
                with archive.open(zipfile.ZipInfo(member.name), "w", force_zip64=True) as target:
                    _copy(member, target)
        yield file


def _list_members(path: Path) -> list[Path]:
    """Return the files that are uploaded. Of two formats of the same weights in a folder, only safetensors are."""
    if not path.is_dir():
        weights = path.with_name(f"{path.name}.data")
        return [path, weights] if path.suffix == ".onnx" and weights.is_file() else [path]
    members = sorted(each for each in path.iterdir() if each.is_file() and each.suffix in FOLDER_SUFFIXES)
    if any(each.suffix == ".safetensors" for each in members):
        members = [each for each in members if not each.name.endswith((".bin", ".bin.index.json"))]
    return members


def _copy(source: Path, target: IO[bytes]) -> None:
    with source.open("rb") as file:
        shutil.copyfileobj(file, target, CHUNK_BYTES)
