"""Headers and segments of the history in the store, and the ones that a process keeps in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from secrets import token_hex
from threading import Lock
from typing import NamedTuple

from cachetools import LRUCache

from shared.history.day import Day, Segment, describe_segment
from shared.history.row import Row, pack, unpack
from shared.storage import layout
from shared.storage.s3 import Bucket, Missing, Stored

GZIP = "application/gzip"

ROW_BYTES = 300
"""Bytes that a row takes in memory in addition to its text."""

CACHE_BYTES = 32_000_000
"""Memory for the segments that a process read last."""

CACHED_DAYS = 2000
"""Number of headers that a process keeps in memory; one takes a few kilobytes."""


class ListedDay(NamedTuple):
    """A day in a listing. The tag changes with its header."""

    day: str
    tag: str


class ReadLimitReached(Exception):
    """A page has read as many objects as it may."""


@dataclass
class ReadLimit:
    """Number of objects that may still be read for one page. Objects in memory do not count."""

    left: int

    def count(self) -> None:
        """Counts one read. Raises `ReadLimitReached` if there is none left."""
        if self.left <= 0:
            raise ReadLimitReached
        self.left -= 1


class Segments:
    """The objects of the history in the store. Every call raises `Unavailable` if the store does not answer.

    It is safe to use from several threads.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = Lock()
        self._days: LRUCache[tuple[str, str], tuple[str, Day]] = LRUCache(CACHED_DAYS)
        self._rows: LRUCache[str, Sequence[Row]] = LRUCache(CACHE_BYTES, getsizeof=_measure)

    def list_tenants(self) -> Iterator[str]:
        """The tenants that have a history."""
        return self._bucket.folders(layout.HISTORY)

    def list_days(self, tenant: str) -> list[ListedDay]:
        """The days of a tenant's history, the newest first."""
        prefix = layout.history_days(tenant)
        listed = self._bucket.list(prefix)
        return [ListedDay(each.key.removeprefix(prefix).removesuffix(".json"), each.etag) for each in listed][::-1]

    def read_day(self, tenant: str, listed: ListedDay, limit: ReadLimit) -> Day:
        """The header of a listed day; from memory if it has not changed. An empty one if it was deleted."""
        day, tag = listed
        with self._lock:
            known, header = self._days.get((tenant, day), ("", Day()))
        if tag and known == tag:
            return header
        limit.count()
        header = self._bucket.get_document(layout.history_day(tenant, day), Day) or Day()
        with self._lock:
            self._days[tenant, day] = (tag, header)
        return header

    def load_day(self, tenant: str, day: str) -> tuple[Day, str | None]:
        """The header of a day and its tag, to replace it. An empty one without a tag if there is none."""
        header, tag = self._bucket.get_tagged_document(layout.history_day(tenant, day), Day)
        return header or Day(), tag

    def replace_day(self, tenant: str, day: str, header: Day, *, tag: str | None) -> bool:
        """Stores a header; False if the store refused, because another process has changed it meanwhile."""
        return self._bucket.replace_document(layout.history_day(tenant, day), header, tag=tag)

    def delete_day(self, tenant: str, day: str) -> None:
        """Removes the header of a day without rows."""
        self._bucket.delete(layout.history_day(tenant, day))

    def read_rows(self, tenant: str, day: str, segment: Segment, limit: ReadLimit) -> Sequence[Row]:
        """The rows of a segment, in the order of their ids; from memory if it was read before. Raises `Missing`."""
        key = layout.history_segment(tenant, day, segment.name)
        with self._lock:
            rows = self._rows.get(key)
        if rows is not None:
            return rows
        limit.count()
        rows = unpack(self._bucket.get(key))
        if _measure(rows) <= CACHE_BYTES:
            with self._lock:
                self._rows[key] = rows
        return rows

    def load_rows(self, tenant: str, day: str, segment: Segment) -> dict[str, Row] | None:
        """The rows of a segment by id, read from the store; None if the segment is gone."""
        try:
            rows = unpack(self._bucket.get(layout.history_segment(tenant, day, segment.name)))
        except Missing:
            return None
        return {row.id: row for row in rows}

    def write_rows(self, tenant: str, day: str, rows: Sequence[Row]) -> Segment:
        """Stores a new segment. Its name was never used before, so that no cache can be wrong."""
        segment = describe_segment(f"{rows[0].id}-{token_hex(4)}.gz", rows)
        self._bucket.put(layout.history_segment(tenant, day, segment.name), pack(rows), media_type=GZIP)
        return segment

    def delete_rows(self, tenant: str, day: str, segments: Sequence[Segment]) -> None:
        """Removes segments that no header names any more."""
        self._bucket.delete_all([layout.history_segment(tenant, day, segment.name) for segment in segments])

    def delete_unnamed(self, tenant: str, oldest: datetime) -> None:
        """Removes a tenant's segments that no header names and that were written before a moment."""
        unnamed: list[str] = []
        for day, listed in groupby(self._bucket.list(layout.history_segments(tenant)), _read_day):
            old = [each.key for each in listed if each.modified < oldest]
            named = {segment.name for segment in self.load_day(tenant, day)[0].segments} if old else set[str]()
            unnamed += [key for key in old if key.rpartition("/")[2] not in named]
        self._bucket.delete_all(unnamed)


def _read_day(stored: Stored) -> str:
    return stored.key.split("/")[-2]


def _measure(rows: Sequence[Row]) -> int:
    return 1 + sum(len(row.text) + ROW_BYTES for row in rows)
