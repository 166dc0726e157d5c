"""Cache of downloaded files: each is downloaded once, checked, and stored under its SHA-256 digest.

A digest is no proof that a release may use a file: any registration can name any digest. So a file is found by the
place that it was downloaded from, and only a place that had exactly this content leads to it.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx2
import structlog

from shared.errors import Unavailable, UnloadableModel

log = structlog.get_logger()

Report = Callable[[int, int], None]
"""Called with the bytes downloaded and the total, 0 if that is not known. It may raise an exception to stop."""

MAX_ATTEMPTS, PAUSES, PAUSE_SECONDS = 3, 4, 0.25
"""After the n-th failed attempt to download, n times `PAUSES` pauses, so that a caller can stop between them."""

TIMEOUT = httpx2.Timeout(15, connect=4)
MIN_BYTES, MIN_SECONDS = 6_000_000, 60.0
"""A download that gets fewer bytes in so many seconds is ended. So the size limits its whole time."""

MAX_DOWNLOADS = 2
"""Downloads at the same time of all processes that share the folder."""

WAIT_SECONDS = 3600.0
"""Longest wait for downloads of other processes."""

IN_USE_SECONDS = 600
"""A file that was found or downloaded so recently may be in use, and is not deleted to make room."""

ABANDONED_SECONDS = 86_400
"""A part of a file that is so old was left by a process that was killed."""

WAIT_STEP_SECONDS = 0.1
CHUNK_BYTES = 1 << 16


def ignore(_done: int, _total: int) -> None:
    """Ignores the progress of a download."""


@dataclass(frozen=True)
class Source:
    """A file to download.

    Attributes:
        name: Name for messages.
        open: Yields the file in chunks, each with the total number of bytes, 0 if that is not known.
        place: Unique name of a file that never changes. The cache remembers the digest of its content.
        digest: Beginning of its SHA-256, as far as it is known. If the file may change, only a full digest tells
            whether the cache has it.
    """

    name: str
    open: Callable[[], Iterator[tuple[bytes, int]]]
    place: str | None = None
    digest: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether its content is always the same."""
        return self.place is not None or len(self.digest) == 64

    def name_place(self, digest: str) -> str:
        """Unique name of the file if it has this digest."""
        return self.place or f"{self.name}#{digest}"


class MinimumSpeed:
    """Ends a download that becomes too slow.

    Args:
        name: Name of the file for messages.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._since, self._done = clock(), 0

    def check(self, done: int) -> None:
        """Raises `UnloadableModel` if too little was downloaded in the last `MIN_SECONDS`.

        Args:
            done: Bytes that were downloaded so far.
        """
        if self._clock() - self._since < MIN_SECONDS:
            return
        if done - self._done < MIN_BYTES:
            raise UnloadableModel(
                f"{self._name} cannot be fetched: only {done - self._done} bytes arrived in {MIN_SECONDS:.0f} s, fewer "
                f"than {MIN_BYTES}; check the connection of the worker"
            )
        self._since, self._done = self._clock(), done


@dataclass(frozen=True)
class DownloadCache:
    """A folder of files, `sha256/{digest}`; each file `places/{digest of a place}` contains the digest of its content.

    Attributes:
        folder: The folder, which the workers of a machine may share.
        max_bytes: Largest size of a file.
        max_total_bytes: Size of all files above which those that were not used for the longest time are deleted.
        clock: A monotonic clock, in seconds.
    """

    folder: Path
    max_bytes: int = 5_000_000_000
    max_total_bytes: int = 15_000_000_000
    clock: Callable[[], float] = field(default=time.monotonic, compare=False)

    def fetch(self, source: Source, report: Report = ignore) -> Path:
        """Returns the path of a file, after downloading it if needed; two processes never download it at once.

        Raises:
            UnloadableModel: The file cannot be downloaded, is too large or arrives too slowly, or has another digest.
            Unavailable: Other processes download for too long.
        """
        place = self._hash(source.place or source.name)
        try:
            for folder in (place.parent, self.folder / "sha256", self.folder / "slots"):
                folder.mkdir(parents=True, exist_ok=True)
            with self._locked([place.with_suffix(".lock")], report):
                found = self.find(source)
                if found is not None:
                    return found
                slots = [self.folder / "slots" / f"{number}.lock" for number in range(MAX_DOWNLOADS)]
                with self._locked(slots, report):
                    return self._fetch(place, source, report)
        except OSError as error:
            raise UnloadableModel(
                f"the cache {self.folder} cannot be written ({error}); set ARCHETYPE_CACHE"
            ) from error

    def find(self, source: Source) -> Path | None:
        """Returns the path of a file that was downloaded from this place and is undamaged; else None."""
        remembered = self._hash(source.name_place(source.digest))
        if not source.is_fixed or not remembered.is_file():
            return None
        digest = remembered.read_text().strip()
        path = self.folder / "sha256" / digest
        if len(digest) != 64 or not digest.startswith(source.digest) or not path.is_file():
            return None
        if hash_file(path) != digest:
            return None
        with suppress(OSError):  # a folder that can only be read
            path.touch()
        return path

    def _hash(self, place: str) -> Path:
        return self.folder / "places" / hashlib.sha256(place.encode()).hexdigest()

    @contextmanager
    def _locked(self, paths: list[Path], report: Report) -> Iterator[None]:
        """Locks one of these files; waits while other processes hold all of them. `report` may raise to stop waiting.

        Raises:
            Unavailable: They hold them for too long.
        """
        started = self.clock()
        with ExitStack() as files:
            locks = [files.enter_context(path.open("w")) for path in paths]
            while not any(map(_try_lock, locks)):
                if self.clock() - started > WAIT_SECONDS:
                    raise Unavailable("other processes of this machine download weights for too long; try again later")
                report(0, 0)
                time.sleep(WAIT_STEP_SECONDS)
            yield

    def _fetch(self, place: Path, source: Source, report: Report) -> Path:
        partial = place.with_suffix(".partial")  # may exist if a process died; it is overwritten
        self._delete_abandoned()
        try:
            digest = self._write(partial, source, report)
            if not digest.startswith(source.digest):
                raise UnloadableModel(
                    f"{source.name} has the SHA-256 {digest}, which should begin with {source.digest}; it was "
                    "changed or damaged on the way: fetch it again, and tell those who publish it"
                )
            path = self.folder / "sha256" / digest
            partial.replace(path)  # atomic: other processes see the whole file or none
            self._make_room()
            new = place.with_suffix(".new")
            new.write_text(digest)
            new.replace(self._hash(source.name_place(digest)))
        finally:
            partial.unlink(missing_ok=True)
        log.info("weights.fetched", name=source.name, sha256=digest, bytes=path.stat().st_size)
        return path

    def _make_room(self) -> None:
        """Deletes the files that were not used for the longest time, until all together are small enough."""
        files = [(path, path.stat()) for path in (self.folder / "sha256").iterdir()]
        total = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda file: file[1].st_mtime):
            if total <= self.max_total_bytes or time.time() - stat.st_mtime < IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size
            log.info("weights.dropped", sha256=path.name, bytes=stat.st_size)

    def _delete_abandoned(self) -> None:
        for partial in (self.folder / "places").glob("*.partial"):
            if time.time() - partial.stat().st_mtime > ABANDONED_SECONDS:
                partial.unlink(missing_ok=True)

    def _write(self, path: Path, source: Source, report: Report) -> str:
        digest, done, speed = hashlib.sha256(), 0, MinimumSpeed(source.name, self.clock)
        with path.open("wb") as file:
            for chunk, total in source.open():
                done += len(chunk)
                if max(done, total) > self.max_bytes:
                    raise UnloadableModel(
                        f"{source.name} has more than the {self.max_bytes} bytes that weights may have"
                    )
                digest.update(chunk)
                file.write(chunk)
                report(done, total)
                speed.check(done)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()


def open_url(url: str) -> Iterator[tuple[bytes, int]]:
    """Downloads a file in chunks, and resumes a few times if the connection breaks.

    Yields:
        Chunks of the file, empty during a pause, and the total number of bytes, 0 during a pause.

    Raises:
        UnloadableModel: There is no connection or no such file.
    """
    done, failure = 0, ""
    for attempt in range(MAX_ATTEMPTS):
        for _ in range(attempt * PAUSES):
            time.sleep(PAUSE_SECONDS)
            yield b"", 0
        headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"}
        try:
            with httpx2.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
                total = done + _check_response(url, response, done)
                for chunk in response.iter_bytes():  # as they arrive, so that a slow download is noticed
                    done += len(chunk)
                    yield chunk, total
            if done >= total:
                return
            failure = f"it ended after {done} of {total} bytes"
        except httpx2.HTTPError as error:
            failure = str(error) or type(error).__name__
    raise UnloadableModel(
        f"{url} cannot be fetched ({failure}); connect the worker to the internet, or fetch the file elsewhere and "
        "name it as weights in the catalogue"
    )


def _check_response(url: str, response: httpx2.Response, done: int) -> int:
    """Returns the number of bytes that follow; raises if the server does not send the file, or not from `done` on."""
    if response.status_code in (404, 401, 403, 410):
        raise UnloadableModel(f"{url} answered {response.status_code}: the weights do not exist or are not public")
    response.raise_for_status()
    if done and response.status_code != 206:
        raise UnloadableModel(f"{url} broke off and cannot be continued; try again")
    return int(response.headers.get("Content-Length", 0))


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
