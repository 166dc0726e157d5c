"""Audit schedules, their outcomes and pending write-backs in the store."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeVar

import structlog
from pydantic import Field, ValidationError

from archetype.contract.audit import WriteBackResult
from archetype.contract.job import D, Document
from archetype.contract.schedule import NewSchedule, Outcome, WriteBack
from shared.errors import UnsupportedFormat
from shared.storage import layout
from shared.storage.s3 import Bucket

log = structlog.get_logger()


class Creator(Document):
    """The caller that created a schedule. Its audits count against the limits of this caller.

    Attributes:
        key: `Caller.key`: id of an API key, the operator, or a user of the identity provider; None without a key.
    """

    key: str | None = None


class StoredSchedule(NewSchedule):
    """A schedule as it is stored.

    Attributes:
        id: Id of the schedule.
        tenant: Tenant that owns the schedule.
        since: First release that is audited; releases before it are not.
        created_at: When the schedule was created.
        created_by: Caller that created the schedule; None if an earlier version stored it.
    """

    id: str
    tenant: str
    since: str
    created_at: datetime
    created_by: Creator | None = None


class PendingWriteBack(Document):
    """A verdict that is written to a model registry as soon as the audit has finished."""

    schedule: str
    tenant: str
    audit: str
    model: str = Field(description="Name of the model in the registry.")
    version: str
    write_back: WriteBack
    begun_at: datetime
    next_at: datetime
    tries: int = 0


T = TypeVar("T", StoredSchedule, PendingWriteBack)


def interleave(documents: Iterable[T]) -> list[T]:
    """Documents in turn by tenant, so that a tenant with many does not delay those of others."""
    positions: Counter[str] = Counter()
    ordered: list[tuple[int, T]] = []
    for document in documents:
        ordered.append((positions[document.tenant], document))
        positions[document.tenant] += 1
    return [document for _, document in sorted(ordered, key=lambda pair: pair[0])]


class ScheduleStore:
    """Schedules with their outcomes in a bucket. Every call raises `Unavailable` if the store does not answer."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def save(self, schedule: StoredSchedule) -> None:
        """Stores a schedule; it replaces the one with the same id."""
        self._bucket.put_document(_schedule_key(schedule.tenant, schedule.id), schedule)

    def find(self, tenant: str, schedule_id: str) -> StoredSchedule | None:
        """A schedule of a tenant, or None if there is no such schedule."""
        return self._bucket.get_document(_schedule_key(tenant, schedule_id), StoredSchedule)

    def walk(self, tenant: str = "") -> Iterator[StoredSchedule]:
        """The schedules of a tenant, or of all tenants, oldest first.

        Documents that cannot be read are logged and skipped, so that they do not stop the other schedules.
        """
        return self._read_all(layout.schedules(tenant), StoredSchedule)

    def _read_all(self, prefix: str, kind: type[D]) -> Iterator[D]:
        for key in list(self._bucket.keys(prefix)):
            try:
                document = self._bucket.get_document(key, kind)
            except (ValidationError, UnsupportedFormat) as error:
                log.warning("schedule.unreadable", key=key, error=str(error)[:300])
                continue
            if document is not None:
                yield document

    def delete(self, schedule: StoredSchedule) -> None:
        """Removes a schedule and its outcomes; its audits stay."""
        self._bucket.delete(_schedule_key(schedule.tenant, schedule.id))
        for key in list(self._bucket.keys(layout.outcomes(schedule.id))):
            self._bucket.delete(key)

    def save_outcome(self, schedule: StoredSchedule, outcome: Outcome) -> None:
        """Stores what the schedule did for a release; it replaces the earlier outcome."""
        self._bucket.put_document(_outcome_key(schedule.id, outcome.release), outcome)

    def find_outcome(self, schedule: StoredSchedule, release: str) -> Outcome | None:
        """What the schedule did for a release, or None if it did nothing yet."""
        return self._bucket.get_document(_outcome_key(schedule.id, release), Outcome)

    def list_seen(self, schedule: StoredSchedule) -> set[str]:
        """The releases that have an outcome. The cost is one listing, however many releases there are."""
        folder = layout.outcomes(schedule.id)
        return {key.removeprefix(folder).removesuffix(".json") for key in self._bucket.keys(folder)}

    def list_outcomes(self, schedule: StoredSchedule) -> list[Outcome]:
        """All outcomes of a schedule, latest first."""
        keys = list(self._bucket.keys(layout.outcomes(schedule.id)))
        documents = (self._bucket.get_document(key, Outcome) for key in keys)
        outcomes = (outcome for outcome in documents if outcome is not None)
        return sorted(outcomes, key=lambda outcome: outcome.at, reverse=True)

    def put_write_back(self, pending: PendingWriteBack) -> None:
        """Stores a pending write-back; it replaces the one of the same audit."""
        self._bucket.put_document(layout.write_back(pending.schedule, pending.audit), pending)

    def has_write_back(self, schedule: StoredSchedule, audit_id: str) -> bool:
        """Whether the verdict of an audit is pending for a schedule, or was written, refused or given up."""
        pending = self._bucket.get_document(layout.write_back(schedule.id, audit_id), PendingWriteBack)
        return pending is not None or self.find_write_back_result(schedule.tenant, audit_id, schedule.id) is not None

    def list_write_backs(self) -> Iterator[PendingWriteBack]:
        """The pending write-backs of all tenants. Documents that cannot be read are logged and skipped."""
        return self._read_all(layout.WRITE_BACKS, PendingWriteBack)

    def end_write_back(self, pending: PendingWriteBack, result: WriteBackResult | None = None) -> None:
        """Removes a pending write-back, and stores how it ended, if that is known."""
        if result is not None:
            folder = layout.write_back_results(pending.tenant, pending.audit)
            self._bucket.put_document(f"{folder}{pending.schedule}.json", result)
        self._bucket.delete(layout.write_back(pending.schedule, pending.audit))

    def find_write_back_result(self, tenant: str, audit_id: str, schedule_id: str) -> WriteBackResult | None:
        """How the verdict of an audit was written for a schedule; None if that has not ended yet."""
        folder = layout.write_back_results(tenant, audit_id)
        return self._bucket.get_document(f"{folder}{schedule_id}.json", WriteBackResult)

    def list_write_back_results(self, tenant: str, audit_id: str) -> list[WriteBackResult]:
        """How the verdict of an audit was written, for each of its schedules."""
        return list(self._read_all(layout.write_back_results(tenant, audit_id), WriteBackResult))


def _schedule_key(tenant: str, schedule_id: str) -> str:
    return f"{layout.schedules(tenant)}{schedule_id}.json"


def _outcome_key(schedule_id: str, release: str) -> str:
    return f"{layout.outcomes(schedule_id)}{release}.json"
