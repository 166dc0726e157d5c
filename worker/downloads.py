"""Files from elsewhere, fetched once and kept under their digest."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import structlog

from shared.errors import UnloadableModel

log = structlog.get_logger()

Report = Callable[[int, int], None]
"""Is told how many bytes there are, and how many there will be, 0 where that is not known; may raise to stop."""

TRIES, PAUSES, PAUSE_SECONDS = 3, 4, 0.25
TIMEOUT = httpx2.Timeout(15, connect=4)
CHUNK = 1 << 20


def ignore(_done: int, _total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Source:
    """Where a file comes from.

    Attributes:
        name: What it is called for people.
        open: Gives the file in chunks, and how many bytes they will be, 0 where that is not known.
        place: Names a file that never changes, among all others; the cache remembers the digest of what it gave.
        digest: What its SHA-256 begins with, where that is known.
    """

    name: str
    open: Callable[[], Iterator[tuple[bytes, int]]]
    place: str | None = None
    digest: str = ""


@dataclass(frozen=True)
class Cache:
    """A folder of files by digest, `sha256/{digest}`; `places/{digest of a place}` names the file that it gave."""

    folder: Path
    most_bytes: int = 5_000_000_000

    def fetch(self, source: Source, report: Report = ignore) -> Path:
        """The file, under its digest, fetched if it is not there; two processes never fetch the same one at once.

        Raises:
            UnloadableModel: It cannot be fetched, is too large, or is not what it should be.
        """
        place = self._place(source)
        try:
            for folder in (place.parent, self.folder / "sha256"):
                folder.mkdir(parents=True, exist_ok=True)
            with self._locked(place, report):
                return self.find(source) or self._fetch(place, source, report)
        except OSError as error:
            raise UnloadableModel(
                f"the cache {self.folder} cannot be written ({error}); set ARCHETYPE_CACHE"
            ) from error

    def find(self, source: Source) -> Path | None:
        """The file if it is there already, whole and the right one."""
        place = self._place(source)
        remembered = place.read_text().strip() if source.place is not None and place.is_file() else source.digest
        path = self.folder / "sha256" / remembered
        if len(remembered) != 64 or not remembered.startswith(source.digest) or not path.is_file():
            return None
        return path if hash_file(path) == remembered else None

    def _place(self, source: Source) -> Path:
        return self.folder / "places" / hashlib.sha256((source.place or source.name).encode()).hexdigest()

    @contextmanager
    def _locked(self, place: Path, report: Report) -> Iterator[None]:
        """Waits while another process fetches the same; whoever is told may stop that."""
        with place.with_suffix(".lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    report(0, 0)
                    time.sleep(0.1)
            yield

    def _fetch(self, place: Path, source: Source, report: Report) -> Path:
        partial = place.with_suffix(".partial")  # what a process that died has left is written over
        try:
            digest = self._write(partial, source, report)
            if not digest.startswith(source.digest):
                raise UnloadableModel(
                    f"{source.name} has the SHA-256 {digest}, which should begin with {source.digest}; it was "
                    "changed or damaged on the way: fetch it again, and tell those who publish it"
                )
            path = self.folder / "sha256" / digest
            partial.replace(path)  # whole or not at all, whoever looks
            if source.place is not None:
                remembered = place.with_suffix(".new")
                remembered.write_text(digest)
                remembered.replace(place)
        finally:
            partial.unlink(missing_ok=True)
        log.info("weights.fetched", name=source.name, sha256=digest, bytes=path.stat().st_size)
        return path

    def _write(self, path: Path, source: Source, report: Report) -> str:
        digest, done = hashlib.sha256(), 0
        with path.open("wb") as file:
            for chunk, total in source.open():
                done += len(chunk)
                if max(done, total) > self.most_bytes:
                    raise UnloadableModel(
                        f"{source.name} has more than the {self.most_bytes} bytes that weights may have"
                    )
                digest.update(chunk)
                file.write(chunk)
                report(done, total)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()


def open_url(url: str) -> Iterator[tuple[bytes, int]]:
    """A file from the web in chunks, empty ones while nothing comes; goes on where the connection broke, up to a bound.

    Raises:
        UnloadableModel: There is no connection, or no such file.
    """
    done, failure = 0, ""
    for attempt in range(TRIES):
        for _ in range(attempt * PAUSES):
            time.sleep(PAUSE_SECONDS)
            yield b"", 0
        headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"}
        try:
            with httpx2.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as answer:
                if answer.status_code in (404, 401, 403, 410):
                    raise UnloadableModel(
                        f"{url} answered {answer.status_code}: there are no such weights for everybody"
                    )
                answer.raise_for_status()
                if done and answer.status_code != 206:
                    raise UnloadableModel(f"{url} broke off and cannot be continued; try again")
                total = done + int(answer.headers.get("Content-Length", 0))
                for chunk in answer.iter_bytes(CHUNK):
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


def hash_file(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
