"""Reads and changes the history of all tenants."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from archetype.contract.job import Job
from shared.errors import Unavailable
from shared.history.day import Day, Segment, divide
from shared.history.row import Pair, Row
from shared.history.segments import ReadLimit, ReadLimitReached, Segments
from shared.state.job_ids import day_of, first_id
from shared.state.locks import HeldLock, Locks
from shared.storage.s3 import Missing

MAX_READS = 40
"""Objects that are read for one page of a list. After that, the page is returned as it is."""

MAX_TRIES = 5
"""How often a change or a page is tried again because another process changes the same day."""

LOCK_SECONDS = 60.0
LOCK_WAIT_SECONDS = 20.0

log = structlog.get_logger()


class _Changed(Exception):
    """Another process has changed what is read or written."""


@dataclass
class _Edit:
    """A change of one day: the segments that stay, are new, and are no longer needed, and the rows that are gone."""

    kept: list[Segment] = field(default_factory=list)
    new: list[list[Row]] = field(default_factory=list)
    obsolete: list[Segment] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _Query:
    """What a page contains.

    Attributes:
        tenant: The tenant.
        pairs: Facets with the values that jobs must have.
        after: The last id of the previous page; None for the first page.
        is_lenient: Whether segments are left out that a header names and the store does not have.
    """

    tenant: str
    pairs: Sequence[Pair]
    after: str | None
    is_lenient: bool

    def begins_after(self, job_id: str) -> bool:
        """Whether the page may contain a job with this id."""
        return self.after is None or job_id < self.after

    def matches(self, row: Row) -> bool:
        """Whether the page may contain this row."""
        return self.begins_after(row.id) and all(pair in row.pairs for pair in self.pairs)


class History:
    """The ended jobs of all tenants. Every call raises `Unavailable` if Redis or the store does not answer.

    A day is changed by writing new segments, then its header, then deleting the segments that were replaced. If this is
    interrupted, no row is lost, and the same change can be made again. A lock keeps processes apart; on stores with
    conditional writes, a header that another process has changed is not overwritten even without it.

    Args:
        segments: The objects in the store.
        locks: Locks on days.
    """

    def __init__(self, segments: Segments, locks: Locks) -> None:
        self._segments = segments
        self._locks = locks

    def add(self, tenant: str, day: str, rows: Sequence[Row]) -> None:
        """Adds rows to a day. Rows that it contains already change nothing."""
        self._change(tenant, day, {row.id: row for row in rows})

    def remove(self, tenant: str, day: str, job_ids: Sequence[str]) -> list[Row]:
        """Removes rows from a day; returns those that it contained."""
        header, _ = self._segments.load_day(tenant, day)
        if not header.segments:
            return []
        return self._change(tenant, day, dict.fromkeys(job_ids))

    def _change(self, tenant: str, day: str, changes: Mapping[str, Row | None]) -> list[Row]:
        with self._locks.lock(f"history:{tenant}:{day}", LOCK_SECONDS, wait=LOCK_WAIT_SECONDS) as held:
            for _ in range(MAX_TRIES):
                header, tag = self._segments.load_day(tenant, day)
                edit = self._plan(tenant, day, header, changes)
                if not edit.obsolete and not edit.new:
                    return []
                if self._apply(tenant, day, edit, tag=tag, held=held):
                    return edit.removed
        raise Unavailable(f"other processes change the history of {day} all the time; try again")

    def _plan(self, tenant: str, day: str, header: Day, changes: Mapping[str, Row | None]) -> _Edit:
        """Applies changes to the segments that they concern."""
        groups: dict[int, dict[str, Row | None]] = {}
        for job_id, row in changes.items():
            groups.setdefault(header.find_position(job_id), {})[job_id] = row
        edit = _Edit(kept=[each for position, each in enumerate(header.segments) if position not in groups])
        for position, group in groups.items():
            segment = header.segments[position] if header.segments else None
            before = {} if segment is None else self._load(tenant, day, segment)
            after = {job_id: row for job_id, row in (before | group).items() if row is not None}
            if segment is not None and after == before and before:
                edit.kept.append(segment)
                continue
            edit.removed += [row for job_id, row in before.items() if job_id not in after]
            edit.obsolete += [] if segment is None else [segment]
            edit.new += divide(after, is_last=position >= len(header.segments) - 1)
        return edit

    def _load(self, tenant: str, day: str, segment: Segment) -> dict[str, Row]:
        rows = self._segments.load_rows(tenant, day, segment)
        if rows is None:
            _log_missing(tenant, day, segment)
        return rows or {}

    def _apply(self, tenant: str, day: str, edit: _Edit, *, tag: str | None, held: HeldLock) -> bool:
        """Writes a change; returns False, without any change, if another process has changed the day meanwhile."""
        written: list[Segment] = []
        for rows in edit.new:
            held.extend(LOCK_SECONDS)
            written.append(self._segments.write_rows(tenant, day, rows))
        held.extend(LOCK_SECONDS)
        segments = sorted([*edit.kept, *written], key=lambda segment: segment.first)
        if not segments:
            self._segments.delete_day(tenant, day)
        elif not self._segments.replace_day(tenant, day, Day(segments=tuple(segments)), tag=tag):
            self._segments.delete_rows(tenant, day, written)
            return False
        self._segments.delete_rows(tenant, day, edit.obsolete)
        return True

    def find(self, tenant: str, job_id: str) -> Job | None:
        """An ended job without artifacts, metrics and provenance; None if the tenant's history does not contain it."""
        day = _find_day(job_id)
        if day is None:
            return None
        header, _ = self._segments.load_day(tenant, day)
        if not header.segments:
            return None
        segment = header.segments[header.find_position(job_id)]
        if not segment.first <= job_id <= segment.last:
            return None
        row = (self._segments.load_rows(tenant, day, segment) or {}).get(job_id)
        return None if row is None else row.job

    def find_owners(self, job_ids: Collection[str]) -> dict[str, str]:
        """The tenants of those of some jobs that the history contains.

        Args:
            job_ids: The jobs. Texts that are not ids of jobs are ignored.
        """
        days = {day for job_id in job_ids if (day := _find_day(job_id)) is not None}
        owners = self._list_owners(lambda day: day in days) if days else ()
        wanted = frozenset(job_ids)
        return {job_id: tenant for job_id, tenant in owners if job_id in wanted}

    def list_owners(self) -> Iterator[tuple[str, str]]:
        """The id and the tenant of all jobs in the history."""
        return self._list_owners(lambda _: True)

    def _list_owners(self, includes: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        for tenant in list(self._segments.list_tenants()):
            for listed in self._segments.list_days(tenant):
                if includes(listed.day):
                    for job_id in self._list_ids(tenant, listed.day):
                        yield job_id, tenant

    def _list_ids(self, tenant: str, day: str) -> list[str]:
        """Ids of all rows of a day. It is read again if another process changes it meanwhile."""
        for attempt in range(MAX_TRIES):
            header, _ = self._segments.load_day(tenant, day)
            segments = [self._segments.load_rows(tenant, day, segment) for segment in header.segments]
            if None not in segments or attempt == MAX_TRIES - 1:
                break
        return [job_id for rows in segments for job_id in rows or ()]

    def count_states(self) -> Counter[str]:
        """Number of jobs of all tenants in the history by state."""
        total: Counter[str] = Counter()
        for tenant in list(self._segments.list_tenants()):
            for listed in self._segments.list_days(tenant):
                total.update(self._segments.load_day(tenant, listed.day)[0].count("state"))
        return total

    def delete_unnamed(self, oldest: datetime) -> None:
        """Deletes segments that no header names, if they were written before a moment: a change was interrupted."""
        for tenant in list(self._segments.list_tenants()):
            self._segments.delete_unnamed(tenant, oldest)

    def page(
        self, tenant: str, *, pairs: Sequence[Pair], limit: int, after: str | None
    ) -> tuple[list[Job], str | None]:
        """A page of a tenant's ended jobs, newest first.

        Args:
            tenant: The tenant.
            pairs: Facets with the values that jobs must have.
            limit: Maximum number of jobs.
            after: The last id of the previous page.

        Returns:
            The jobs, and the id after which the next page starts; None if this is the last page.
        """
        for attempt in range(MAX_TRIES):
            is_last_try = attempt == MAX_TRIES - 1
            with suppress(_Changed):
                return self._read_page(_Query(tenant, pairs, after, is_lenient=is_last_try), limit)
        raise Unavailable("other processes change the history all the time; try again")

    def _read_page(self, query: _Query, limit: int) -> tuple[list[Job], str | None]:
        rows: list[Row] = []
        known_down_to = query.after
        try:
            for first, found in self._scan(query):
                known_down_to = first
                rows += found
                if len(rows) > limit:
                    return [row.job for row in rows[:limit]], rows[limit - 1].id
        except ReadLimitReached:
            return [row.job for row in rows], known_down_to
        return [row.job for row in rows], None

    def _scan(self, query: _Query) -> Iterator[tuple[str, list[Row]]]:
        """Yields the rows of one segment after the other, newest first, and the id down to which all were yielded."""
        limit = ReadLimit(MAX_READS)
        for listed in self._segments.list_days(query.tenant):
            start = first_id(listed.day)
            if not query.begins_after(start):
                continue
            for segment in reversed(self._segments.read_day(query.tenant, listed, limit).segments):
                if query.begins_after(segment.first):
                    yield segment.first, self._find_rows(query, listed.day, segment, limit)
            yield start, []

    def _find_rows(self, query: _Query, day: str, segment: Segment, limit: ReadLimit) -> list[Row]:
        if not segment.may_match(query.pairs):
            return []
        try:
            rows = self._segments.read_rows(query.tenant, day, segment, limit)
        except Missing as error:  # it was replaced after the header had been read
            if not query.is_lenient:
                raise _Changed from error
            _log_missing(query.tenant, day, segment)
            return []
        return [row for row in reversed(rows) if query.matches(row)]


def _find_day(job_id: str) -> str | None:
    """The day of a job; None if the text is not the id of a job."""
    try:
        return day_of(job_id)
    except ValueError:
        return None


def _log_missing(tenant: str, day: str, segment: Segment) -> None:
    """Logs that the object of a segment was lost. The hourly comparison with the store adds its rows again."""
    log.error("history.segment_missing", tenant=tenant, day=day, segment=segment.name)
