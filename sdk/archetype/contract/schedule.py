"""Schedules: when the releases of a model are audited, under which plan, and the outcomes.

S3 is authoritative; the scheduler copies from it what it keeps in Redis.
"""

import operator
from datetime import datetime
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from archetype.contract.audit_plan import AuditPlan, Reference, Text
from archetype.contract.job import Document, Priority
from archetype.contract.model import Name
from archetype.contract.problem import ProblemDocument
from archetype.contract.request import Tag

HOUR = 3600


class WriteBack(Document):
    """Place in an MLflow registry to which verdicts are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registered_model: Text | None = Field(
        default=None, description="Name of the registered model in MLflow; if null, the name of the model."
    )
    tag: Text | None = Field(
        default="archetype.verdict",
        description="Tag of the model version that is set to the verdict; if null, no tag is set.",
    )
    alias: Text | None = Field(
        default=None,
        description="Alias that is given to a model version with the verdict `pass` or `warn`; if null, none is given.",
    )
    run: bool = Field(
        default=False,
        exclude_if=operator.not_,  # workers of earlier versions do not know it
        description="Whether the figures of the audit are logged as metrics of the run that made the version, and its "
        "report is stored among the artifacts of that run.",
    )


class NewSchedule(Document):
    """Body of `POST /v1/schedules`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Name = Field(description="Name of the model whose releases are audited.", examples=["fruit"])
    plan: AuditPlan = Field(description="Audit plan.")
    on_release: bool = Field(
        default=True,
        description="Whether each new release is audited as soon as it exists, starting with the release that is the "
        "newest when the schedule is created.",
    )
    cron: str | None = Field(
        default=None,
        max_length=100,
        examples=["30 3 * * 1-5"],
        description="Times at which the newest release is audited if it has not been: a cron expression with minute, "
        "hour, day of the month, month and day of the week. The rules are those of Debian's cron: Sunday is 0 or 7, "
        "names such as `MON` and `JAN` are allowed, and if both the day of the month and the day of the week are "
        "restricted, either may match. If null, there are no such times.",
    )
    timezone: str = Field(
        default="UTC",
        max_length=60,
        description="Time zone of the cron expression. A time that the clocks skip in spring runs at the next minute "
        "that exists; a time that they repeat in autumn runs once.",
        examples=["Europe/Berlin"],
    )
    jitter_seconds: int = Field(
        default=0,
        ge=0,
        le=HOUR,
        description="Largest delay after each cron time, in seconds. The delay is fixed for each schedule, so that "
        "schedules with the same cron time do not all start at once.",
    )
    priority: Priority = Field(default="bulk", description="Priority of the audits.")
    tags: list[Tag] = Field(default=[], max_length=10, description="Labels of the audits.")
    webhook: str | None = Field(
        default=None, max_length=2000, description="https URL that receives each verdict; null for none."
    )
    write_back: WriteBack | None = Field(
        default=None, description="Place in an MLflow registry to which each verdict is written; null for none."
    )

    @model_validator(mode="after")
    def _check_trigger(self) -> Self:
        if self.cron is None and not self.on_release:
            raise ValueError("give cron, or set on_release to true: this schedule would never start an audit")
        return self


class Outcome(Document):
    """Result of a schedule for a release: an audit, or the reason for which none was started."""

    release: str = Field(description="Name of the release.", examples=["2026-11-21"])
    at: datetime = Field(description="Time at which the audit was started or refused.")
    audit: str | None = Field(default=None, description="Id of the audit; null if none was started.")
    problem: ProblemDocument | None = Field(
        default=None, description="Reason for which no audit was started; null if one was."
    )


class Schedule(NewSchedule):
    """A schedule with its next time and its outcomes."""

    id: str = Field(description="Id of the schedule.")
    created_at: datetime = Field(description="Time at which the schedule was created.")
    next_at: datetime | None = Field(description="Next time of the cron expression; null if there is none.")
    paused: str | None = Field(
        default=None,
        description="Reason for which the schedule starts no audits, such as a revoked key; null if it does.",
    )
    outcomes: list[Outcome] = Field(description="Outcome for each release, latest first.")


class Schedules(Document):
    """All schedules of a tenant."""

    items: list[Schedule]


class NewAnnouncement(Document):
    """Body of `POST /v1/releases`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Reference = Field(
        description="New release: `name@release`, or `name` for its newest release.", examples=["fruit@2026-11-21"]
    )


class Announced(Document):
    """The outcome of a schedule for an announced release."""

    schedule: str = Field(description="Id of the schedule.")
    outcome: Outcome = Field(description="The audit, or the reason for which none was started.")


class Announcement(Document):
    """An announced release and its audits, including audits that an earlier announcement started."""

    model: str = Field(description="Announced release.")
    audits: list[Announced] = Field(description="Outcome of each schedule of the model.")
