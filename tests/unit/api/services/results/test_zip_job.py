"""The archive of a job is written while it is sent."""

import io
import tracemalloc
import zipfile
from collections.abc import Iterator

from api.services.results.zip_job import write_zip
from tests.support.finished_jobs import describe_file

CHUNK = b"x" * 65_536


def test_the_archive_contains_every_file() -> None:
    contents = {"a.png": b"one", "bä.json": b"", "c.npz": CHUNK * 3}
    files = [(name, describe_file("j", name, data), [data[:2], data[2:]]) for name, data in contents.items()]
    with zipfile.ZipFile(io.BytesIO(b"".join(write_zip(files)))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents


def test_the_archive_of_large_files_needs_no_more_memory_than_a_chunk() -> None:
    def stream(count: int) -> Iterator[bytes]:
        yield from (CHUNK for _ in range(count))

    files = ((f"{number}.png", describe_file("j", f"{number}.png"), stream(200)) for number in range(4))
    tracemalloc.start()
    size = sum(len(chunk) for chunk in write_zip(files))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 800 * len(CHUNK)
    assert peak < 10 * len(CHUNK)
