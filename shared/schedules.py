"""Schedules: which model's releases are audited by themselves, under which plan, when, and what came of it.

S3 is the truth here too. The scheduler takes from it what it keeps in Redis.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, Self

import structlog
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from shared.bucket import Bucket
from shared.catalogue import Name
from shared.cron import find_zone, read_cron
from shared.errors import ProblemDocument
from shared.jobs import Document
from shared.methods import Tag
from shared.parameters.audit import Plan, Reference, Text

log = structlog.get_logger()

HOUR = 3600


class WriteBack(Document):
    """Where in an MLflow registry a verdict is written down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registered_model: Text | None = Field(default=None, description="Its name there; without it, the model's own.")
    tag: Text | None = Field(default="archetype.verdict", description="The version's tag that gets the verdict.")
    alias: Text | None = Field(default=None, description="An alias that a version gets which passed, or was warned of.")


class NewSchedule(Document):
    """What `POST /v1/schedules` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Name = Field(description="Whose releases are audited.", examples=["fruit"])
    plan: Plan
    on_release: bool = Field(
        default=True,
        description="Audit every release, from the newest of now on, as soon as there is one.",
    )
    cron: str | None = Field(
        default=None, max_length=100, examples=["30 3 * * 1-5"],
        description="When the newest release is audited if it was not: minute, hour, day, month, day of the week.",
    )  # fmt: skip
    timezone: str = Field(default="UTC", max_length=60, description="Whose clock that is.", examples=["Europe/Berlin"])
    jitter_seconds: int = Field(
        default=0, ge=0, le=HOUR, description="Up to so much later, always the same: many would come at once."
    )
    priority: Literal["interactive", "bulk"] = "bulk"
    tags: list[Tag] = Field(default=[], max_length=10, description="Of its audits.")
    webhook: str | None = Field(default=None, max_length=2000, description="An https URL that is told every verdict.")
    write_back: WriteBack | None = Field(default=None, description="Where else every verdict is written down.")

    @field_validator("cron")
    @classmethod
    def _is_a_line(cls, given: str | None) -> str | None:
        if given is not None:
            read_cron(given, "UTC")
        return given

    @field_validator("timezone")
    @classmethod
    def _is_a_place(cls, given: str) -> str:
        find_zone(given)
        return given

    @model_validator(mode="after")
    def _is_due_at_some_time(self) -> Self:
        if self.cron is None and not self.on_release:
            raise ValueError("give cron, or leave on_release as it is: this schedule would never audit anything")
        return self


class Outcome(Document):
    """What came of a schedule for a release."""

    release: str = Field(examples=["2026-11-21"])
    at: datetime
    audit: str | None = Field(default=None, description="The audit's id.")
    problem: ProblemDocument | None = Field(default=None, description="Why there is none.")


class StoredSchedule(NewSchedule):
    """A schedule as it is stored.

    Attributes:
        since: The release from which on none is left out.
    """

    id: str
    tenant: str
    since: str
    created_at: datetime


class Schedule(NewSchedule):
    """A schedule, when it is due, and what came of it."""

    id: str
    created_at: datetime
    next_at: datetime | None = Field(description="When its line of cron is due; null without one.")
    outcomes: list[Outcome] = Field(description="By release, the latest first.")


class Schedules(Document):
    """Every schedule of a tenant."""

    items: list[Schedule]


class NewAnnouncement(Document):
    """What `POST /v1/releases` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Reference = Field(
        description="The release that is new: `name@release`, or `name` for its newest.", examples=["fruit@2026-11-21"]
    )


class Announced(Document):
    """What a release has started."""

    schedule: str = Field(description="The schedule's id.")
    outcome: Outcome


class Announcement(Document):
    """A release, and the audits that it has started; those that it had started before are named again."""

    model: str
    audits: list[Announced]


class PendingWriteBack(Document):
    """A verdict that is to be written down, once there is one."""

    schedule: str
    tenant: str
    audit: str
    model: str = Field(description="Its name in the registry.")
    version: str
    write_back: WriteBack
    begun_at: datetime
    next_at: datetime
    tries: int = 0


class ScheduleStore:
    """Schedules with their outcomes, in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def save(self, schedule: StoredSchedule) -> None:
        self._bucket.put_document(_place(schedule.tenant, schedule.id), schedule)

    def find(self, tenant: str, schedule_id: str) -> StoredSchedule | None:
        return self._bucket.get_document(_place(tenant, schedule_id), StoredSchedule)

    def walk(self, tenant: str = "") -> Iterator[StoredSchedule]:
        """A tenant's, or everybody's, the oldest first. What cannot be read is in nobody's way."""
        for key in list(self._bucket.keys(f"schedules/{tenant}/" if tenant else "schedules/")):
            try:
                found = self._bucket.get_document(key, StoredSchedule)
            except ValidationError as error:
                log.warning("schedule.unreadable", key=key, error=str(error)[:300])
                continue
            if found is not None:
                yield found

    def delete(self, schedule: StoredSchedule) -> None:
        """Removes it with its outcomes; its audits stay."""
        self._bucket.delete(_place(schedule.tenant, schedule.id))
        for key in list(self._bucket.keys(f"outcomes/{schedule.id}/")):
            self._bucket.delete(key)

    def note(self, schedule: StoredSchedule, outcome: Outcome) -> None:
        self._bucket.put_document(f"outcomes/{schedule.id}/{outcome.release}.json", outcome)

    def find_outcome(self, schedule: StoredSchedule, release: str) -> Outcome | None:
        return self._bucket.get_document(f"outcomes/{schedule.id}/{release}.json", Outcome)

    def list_seen(self, schedule: StoredSchedule) -> set[str]:
        """The releases of which something came; in one call, however many there are."""
        start = f"outcomes/{schedule.id}/"
        return {key.removeprefix(start).removesuffix(".json") for key in self._bucket.keys(start)}

    def list_outcomes(self, schedule: StoredSchedule) -> list[Outcome]:
        """By release, the latest first."""
        found = (self._bucket.get_document(key, Outcome) for key in list(self._bucket.keys(f"outcomes/{schedule.id}/")))
        return sorted((one for one in found if one is not None), key=lambda one: one.at, reverse=True)

    def put_write_back(self, pending: PendingWriteBack) -> None:
        self._bucket.put_document(_place_write_back(pending), pending)

    def list_write_backs(self) -> Iterator[PendingWriteBack]:
        for key in list(self._bucket.keys("writebacks/")):
            found = self._bucket.get_document(key, PendingWriteBack)
            if found is not None:
                yield found

    def end_write_back(self, pending: PendingWriteBack) -> None:
        self._bucket.delete(_place_write_back(pending))


def _place(tenant: str, schedule_id: str) -> str:
    return f"schedules/{tenant}/{schedule_id}.json"


def _place_write_back(pending: PendingWriteBack) -> str:
    return f"writebacks/{pending.schedule}/{pending.audit}.json"
