"""Files of the Hugging Face hub: from the hub's own cache on this machine, else downloaded.

The environment variables of the library `huggingface_hub` are respected: `HF_HOME` names its cache, `HF_ENDPOINT`
another hub, and with `HF_HUB_OFFLINE` nothing is downloaded. Repositories must be public.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from shared.errors import UnloadableModel
from worker.models.download_cache import CHUNK_BYTES, open_url
from worker.models.huggingface.archive import CONFIGS, WEIGHTS, UnreadableFolder, list_shards

INFO_SECONDS = 20.0
MAX_FILES = 5_000
"""Files of a repository."""

Chunks = Iterator[tuple[bytes, int]]
"""Parts of a file, each with the number of bytes of the whole file; 0 if that is not known."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository at a commit.

    Attributes:
        name: Its name.
        bytes: Its size; 0 if it is not known.
        open: Yields its content.
    """

    name: str
    bytes: int
    open: Callable[[], Chunks]


def open_hub_file(repository: str, name: str, revision: str) -> Chunks:
    """Yields a file of a repository.

    Raises:
        UnloadableModel: There is no such file, or no connection.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, name, revision=revision)
    if isinstance(cached, str):
        yield from _read(Path(cached))
        return
    if constants.HF_HUB_OFFLINE:
        raise UnloadableModel(
            f"{name} of {repository} at {revision} is not in the cache of the hub ({constants.HF_HUB_CACHE}), and "
            "HF_HUB_OFFLINE is set; fetch it there first, or unset HF_HUB_OFFLINE"
        )
    yield from open_url(locate_hub_file(repository, name, revision))


def locate_hub_file(repository: str, name: str, revision: str) -> str:
    """Returns the URL of a file of a repository."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repository}/resolve/{revision}/{name}"


def open_repository(reference: str) -> Chunks:
    """Yields the model folder of a repository as a ZIP archive: configuration and weights. Equal files, equal archive.

    Args:
        reference: `OWNER/NAME@COMMIT`.

    Raises:
        UnloadableModel: There is no such repository, no connection, no model folder in it, or a file differs from what
            the commit says.
    """
    repository, _, commit = reference.partition("@")
    files = _list_files(repository, commit)
    total = sum(file.bytes for file in files)
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        for file in sorted(files, key=lambda file: file.name):
            with archive.open(zipfile.ZipInfo(file.name), "w", force_zip64=True) as member:
                for chunk, _ in file.open():
                    member.write(chunk)
                    yield sink.take(), total
    yield sink.take(), total


class _Sink:
    """What a ZIP file is written to, to be taken away in parts."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Does nothing: `take` gives all that was written."""

    def take(self) -> bytes:
        """Returns what was written since the last call."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _list_files(repository: str, commit: str) -> list[HubFile]:
    """The configuration and the weights of a repository at a commit."""
    from huggingface_hub import constants

    known = _list_cached(repository, commit) if constants.HF_HUB_OFFLINE else _list_hub(repository, commit)
    configs = [known[name] for name in CONFIGS if name in known]
    if "config.json" not in known:
        raise UnloadableModel(f"{repository} has no config.json, as timm and transformers write it")
    for name in WEIGHTS:
        if name in known:
            return [*configs, known[name]]
        index = f"{name}.index.json"
        if index in known:
            return [*configs, known[index], *_find_shards(known, index, repository)]
    raise UnloadableModel(f"{repository} has no {' or '.join(WEIGHTS)}")


def _list_cached(repository: str, commit: str) -> dict[str, HubFile]:
    """The files of a commit in the cache of the hub. Raises `UnloadableModel` if it has none."""
    from huggingface_hub import constants, try_to_load_from_cache

    config = try_to_load_from_cache(repository, "config.json", revision=commit)
    if not isinstance(config, str):
        raise UnloadableModel(
            f"{repository}@{commit} is not in the cache of the hub ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is "
            "set; fetch it there first with `hf download`, or unset HF_HUB_OFFLINE"
        )
    return {
        path.name: HubFile(path.name, path.stat().st_size, partial(_read, path))
        for path in sorted(Path(config).parent.iterdir())
        if path.is_file()
    }


def _list_hub(repository: str, commit: str) -> dict[str, HubFile]:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi(endpoint=constants.ENDPOINT).model_info(
            repository, revision=commit, timeout=INFO_SECONDS, files_metadata=True, token=False
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UnloadableModel(f"the hub has no public repository {repository} with the commit {commit}") from error
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise UnloadableModel(
            f"the hub {constants.ENDPOINT} does not answer ({type(error).__name__}: {str(error)[:200]}); connect the "
            "worker to it, or fill the cache in HF_HOME and set HF_HUB_OFFLINE"
        ) from error
    siblings = info.siblings or []
    if len(siblings) > MAX_FILES:
        raise UnloadableModel(f"{repository} has more than {MAX_FILES} files")
    return {
        each.rfilename: HubFile(
            each.rfilename,
            each.size or 0,
            partial(_download, repository, commit, each.rfilename, _find_digest(each.lfs, each.blob_id, each.size)),
        )
        for each in siblings
        if "/" not in each.rfilename
    }


@dataclass(frozen=True)
class _Digest:
    """What the content of a file must be: its SHA-256, or the SHA-1 of git, which includes the size."""

    name: str
    value: str
    prefix: bytes = b""


def _find_digest(lfs: object, blob: str | None, size: int | None) -> _Digest | None:
    sha256 = getattr(lfs, "sha256", None)
    if sha256:
        return _Digest("sha256", sha256)
    return _Digest("sha1", blob, f"blob {size}\0".encode()) if blob and size is not None else None


def _download(repository: str, commit: str, name: str, expected: _Digest | None) -> Chunks:
    """Yields a file, from the cache of the hub if it is there, and compares it with its digest in the commit."""
    digest = hashlib.new(expected.name, expected.prefix, usedforsecurity=False) if expected else None
    for chunk, total in open_hub_file(repository, name, commit):
        if digest is not None:
            digest.update(chunk)
        yield chunk, total
    if digest is not None and expected is not None and digest.hexdigest() != expected.value:
        raise UnloadableModel(
            f"{name} of {repository} has the {expected.name} {digest.hexdigest()} instead of {expected.value}; it was "
            "changed or damaged on the way: fetch it again"
        )


def _find_shards(known: dict[str, HubFile], index: str, repository: str) -> list[HubFile]:
    with _saved(known[index]) as path:
        try:
            names = list_shards(path)
        except UnreadableFolder as error:
            raise UnloadableModel(f"{repository} {error}") from error
    missing = [name for name in names if name not in known]
    if missing:
        raise UnloadableModel(f"{repository} lacks {missing[0]}, which {index} names")
    return [known[name] for name in names]


@contextmanager
def _saved(file: HubFile) -> Iterator[Path]:
    """A small file on the disk, until the block ends."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / file.name
        path.write_bytes(b"".join(chunk for chunk, _ in file.open()))
        yield path


def _read(path: Path) -> Chunks:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk, path.stat().st_size
