"""All artifacts of a job as a ZIP archive, which is written while it is sent."""

import zipfile
from collections.abc import Iterable, Iterator
from typing import IO

from archetype.contract.job import Artifact

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the archive: the same job gives the same archive."""


class ChunkSink:
    """A file that can only be written, and from which the written bytes are taken."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Appends data."""
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Does nothing: there is nothing behind the sink."""

    def take(self) -> bytes:
        """Removes and returns all data."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data


def write_zip(files: Iterable[tuple[str, Artifact, Iterable[bytes]]]) -> Iterator[bytes]:
    """Yields the archive in chunks; at most one chunk of a file is in memory.

    The files are stored as they are: images are compressed already.

    Args:
        files: The name in the archive, the artifact, and the chunks of each file.
    """
    sink = ChunkSink()
    with zipfile.ZipFile(_as_file(sink), "w", zipfile.ZIP_STORED) as archive:
        for name, artifact, chunks in files:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.file_size = artifact.bytes  # decides whether the entry needs 64 bits
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w") as member:
                for chunk in chunks:
                    member.write(chunk)
                    yield sink.take()
    yield sink.take()


def _as_file(sink: ChunkSink) -> IO[bytes]:
    return sink  # type: ignore[return-value]
