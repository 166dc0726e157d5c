"""Artifacts are stored in other threads, and named only when they are stored."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.queue.claims import Claim
from shared.storage.job_store import JobStore
from worker.output.artifacts import MAX_PENDING, ArtifactWriter, AttemptOutput


class SlowBucket:
    """Objects in memory; calls a function before it stores one."""

    def __init__(self, before: Callable[[str], object]) -> None:
        self.objects: dict[str, bytes] = {}
        self._before = before

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        assert media_type
        self._before(key)
        self.objects[key] = data


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def make_writer(before: Callable[[str], object], pool: ThreadPoolExecutor) -> tuple[ArtifactWriter, SlowBucket]:
    bucket: Any = SlowBucket(before)
    return ArtifactWriter(JobStore(bucket), Claim("job", 0, 7, 1), AttemptOutput(), pool), bucket


def test_files_are_stored_at_the_same_time(pool: ThreadPoolExecutor) -> None:
    together = Barrier(4, timeout=5)
    save, bucket = make_writer(lambda _: together.wait(), pool)
    for number in range(4):
        save(f"{number}.png", b"png")
    save.output.wait_for_files()
    assert set(bucket.objects) == set(save.output.keys.values())
    assert [artifact.bytes for artifact in save.output.artifacts] == [3] * 4


def test_a_file_that_is_not_stored_is_an_error_whenever_a_document_would_name_it(pool: ThreadPoolExecutor) -> None:
    def refuse(key: str) -> None:
        if key.endswith("1.png"):
            raise Unavailable("no answer")

    save, _ = make_writer(refuse, pool)
    for number in range(3):
        save(f"{number}.png", b"png")
    for _ in range(2):
        with pytest.raises(Unavailable):
            save.output.wait_for_files()
        with pytest.raises(Unavailable):
            save.output.pack()


def test_few_files_are_in_memory_while_the_store_is_slow(pool: ThreadPoolExecutor) -> None:
    save, bucket = make_writer(lambda _: None, pool)
    for number in range(3 * MAX_PENDING):
        save(f"{number}.png", b"png")
        assert len(save.output.pending) <= MAX_PENDING
    save.output.wait_for_files()
    assert len(bucket.objects) == 3 * MAX_PENDING
