"""Files that are read from an object in parts: they behave as files, and read only what is needed."""

import io
import zipfile

import numpy as np
import pytest

from shared.storage.ranged_file import BUFFER_BYTES, open_ranged

MEMBERS = {f"{number:03}.png": np.random.default_rng(number).bytes(100_000) for number in range(200)}


@pytest.fixture(scope="module")
def archive() -> bytes:
    """An archive of 20 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name, data in MEMBERS.items():
            opened.writestr(name, data)
    return file.getvalue()


def test_any_reads_and_seeks_give_the_bytes_of_a_file(archive: bytes) -> None:
    ours, theirs = open_ranged(lambda start, stop: archive[start:stop], len(archive)), io.BytesIO(archive)
    random = np.random.default_rng(0)
    for _ in range(300):
        whence = int(random.choice([io.SEEK_SET, io.SEEK_END]))
        offset = int(random.integers(0, len(archive))) * (1 if whence == io.SEEK_SET else -1)
        assert ours.seek(offset, whence) == theirs.seek(offset, whence)
        count = int(random.choice([1, 22, 50_000, 3_000_000]))
        assert ours.read(count) == theirs.read(count)
        assert ours.tell() == theirs.tell()
    with pytest.raises(OSError, match=r"before the start|negative"):
        ours.seek(-len(archive) - 1, io.SEEK_END)


def test_some_members_of_an_archive_are_read_without_the_others(archive: bytes) -> None:
    read: list[int] = []

    def read_range(start: int, stop: int) -> bytes:
        read.append(stop - start)
        return archive[start:stop]

    with open_ranged(read_range, len(archive)) as file, zipfile.ZipFile(file) as opened:
        for name in list(MEMBERS)[50:60]:
            assert opened.read(name) == MEMBERS[name]
    assert sum(read) < 6 * BUFFER_BYTES
    assert len(read) < 10
