"""Unpacks the files of a model folder that are needed from an untrusted ZIP or tar archive.

Names of members never become paths: a file is chosen by its name, and written under that name into a new folder. Links
are refused. Sizes are limited while a member is read, whatever the archive says.
"""

import errno
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

from archetype.contract.strict_json import JsonLimits, load_json
from shared.media.zip_file import READ_ERRORS, TooManyMembers, open_zip

MAX_MEMBERS = 1_000
MAX_CONFIG_BYTES = 10_000_000
MAX_WEIGHTS_BYTES = 5_000_000_000
"""Largest size of all weights of a folder, unpacked."""

CHUNK_BYTES = 1 << 20

JSON_LIMITS = JsonLimits(elements=500_000)
"""Limits of a JSON file: a hundred thousand class names, in two tables."""

TAR_ERRORS = (tarfile.TarError, zlib.error, lzma.LZMAError)

CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of weights in the order in which they are chosen; each can be split, which an index then says."""

PACK_AGAIN = (
    "pack the folder as a ZIP file or as .tar.gz, for example `tar --dereference -czf model.tar.gz -C FOLDER .`"
)


class UnreadableFolder(ValueError):
    """An archive that is not that of a model folder; the message is a sentence without its subject."""


@dataclass(frozen=True)
class _Member:
    """A file in an archive."""

    path: PurePosixPath
    is_link: bool
    open: Callable[[], IO[bytes]]


@contextmanager
def unpack(path: Path, *, weights: bool) -> Iterator[Path]:
    """Unpacks a model folder into a temporary folder, which exists until the block ends.

    Args:
        path: The archive.
        weights: Whether to unpack the weights too.

    Raises:
        UnreadableFolder: The file is not an archive, has no `config.json` or no weights, or is too large.
    """
    # Next to the archive, because the usual place for temporary files may be in memory.
    place = path.parent if os.access(path.parent, os.W_OK) else None
    with TemporaryDirectory(prefix="archetype-folder-", dir=place) as temporary:
        folder = Path(temporary)
        with _open(path) as members:
            files = _find_folder(members)
            for name in CONFIGS:
                _copy(files, name, folder, MAX_CONFIG_BYTES)
            if weights:
                _copy_weights(files, folder)
        yield folder


@contextmanager
def _open(path: Path) -> Iterator[list[_Member]]:
    try:
        if zipfile.is_zipfile(path):
            with path.open("rb") as file, open_zip(file, max_members=MAX_MEMBERS) as archive:
                yield [_describe_zip(archive, info) for info in archive.infolist()]
        else:
            with tarfile.open(path) as packed:
                yield list(_list_tar(packed))
    except UnreadableFolder:
        raise
    except TooManyMembers as error:
        raise UnreadableFolder(f"contains more than {MAX_MEMBERS} files; {PACK_AGAIN}") from error
    except (*READ_ERRORS, *TAR_ERRORS) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk, not the archive, which may name a place before its start
        raise UnreadableFolder(
            f"cannot be unpacked ({str(error)[:200] or 'it is incomplete'}); {PACK_AGAIN}"
        ) from error


def _describe_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    return _Member(PurePosixPath(info.filename), is_link, lambda: archive.open(info))


def _list_tar(archive: tarfile.TarFile) -> Iterator[_Member]:
    size = 0
    for count, member in enumerate(archive):
        size += member.size
        if count > MAX_MEMBERS or size > 2 * MAX_WEIGHTS_BYTES:
            raise UnreadableFolder("contains too many or too large files for a model folder")
        if member.isreg() or member.issym() or member.islnk():
            yield _Member(PurePosixPath(member.name), not member.isreg(), _open_tar_member(archive, member))


def _open_tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    def open_member() -> IO[bytes]:
        file = archive.extractfile(member)
        if file is None:
            raise UnreadableFolder(f"contains {member.name}, which is not a file; {PACK_AGAIN}")
        return file

    return open_member


def _find_folder(members: list[_Member]) -> dict[str, _Member]:
    """Returns the files next to the outermost `config.json`, by name."""
    if len(members) > MAX_MEMBERS:
        raise UnreadableFolder(f"contains more than {MAX_MEMBERS} files; {PACK_AGAIN}")
    paths = [member.path for member in members if member.path.name == "config.json" and ".." not in member.path.parts]
    if not paths:
        raise UnreadableFolder(f"contains no config.json, as timm and transformers write it; {PACK_AGAIN}")
    depth = min(len(path.parts) for path in paths)
    folders = {path.parent for path in paths if len(path.parts) == depth}
    if len(folders) > 1:
        names = ", ".join(sorted(map(str, folders))[:5])
        raise UnreadableFolder(f"contains several model folders ({names}); pack one of them")
    (folder,) = folders
    return {member.path.name: member for member in members if member.path.parent == folder}


def _copy(files: dict[str, _Member], name: str, folder: Path, limit: int) -> int:
    """Copies a file of an archive into a folder if it exists; returns its size."""
    member = files.get(name)
    if member is None:
        return 0
    if member.is_link:
        raise UnreadableFolder(f"contains {name} as a link instead of a file; {PACK_AGAIN}")
    size = 0
    with member.open() as source, (folder / name).open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            if size > limit:
                raise UnreadableFolder(
                    f"contains {name}, which unpacks to more than the {limit} bytes that it may have"
                )
            target.write(chunk)
    return size


def _copy_weights(files: dict[str, _Member], folder: Path) -> None:
    left = MAX_WEIGHTS_BYTES
    for name in WEIGHTS:
        index = f"{name}.index.json"
        if name in files:
            _copy(files, name, folder, left)
            return
        if index in files:
            _copy(files, index, folder, MAX_CONFIG_BYTES)
            for shard in list_shards(folder / index):
                if shard not in files:
                    raise UnreadableFolder(f"lacks {shard}, which {index} names; {PACK_AGAIN}")
                left -= _copy(files, shard, folder, left)
            return
    others = [name for name in files if name.endswith((".safetensors", ".bin", ".h5", ".msgpack", ".onnx", ".pt"))]
    found = f" (it has {', '.join(others[:5])})" if others else ""
    raise UnreadableFolder(f"contains no {' or '.join(WEIGHTS)} next to its config.json{found}; {PACK_AGAIN}")


def list_shards(index: Path) -> list[str]:
    """Returns the names of the files that an index of split weights names. Raises `UnreadableFolder`."""
    names = read_json(index).get("weight_map")
    shards = sorted({str(name) for name in names.values()}) if isinstance(names, dict) else []
    if not shards or not all(re.fullmatch(r"[A-Za-z0-9][\w.-]*\.(safetensors|bin)", shard) for shard in shards):
        raise UnreadableFolder(f"contains {index.name}, which does not name files of weights; save the model again")
    return shards


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object. Raises `UnreadableFolder`."""
    try:
        content = load_json(path.read_text(encoding="utf-8-sig"), JSON_LIMITS)
    except (ValueError, RecursionError) as error:
        raise UnreadableFolder(f"contains {path.name}, which is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UnreadableFolder(f"contains {path.name}, which is not a JSON object")
    return content
