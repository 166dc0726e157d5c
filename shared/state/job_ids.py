"""Creation of job ids, the creation time that an id contains, and the first id of a day."""

from datetime import UTC, date, datetime, time

from ulid import ULID

RANDOM_BYTES = 10
"""Bytes of an id after its time."""


def new_job_id(moment: datetime | None = None) -> str:
    """A new ULID in lower case: unique, and sorted by creation time if sorted as text.

    Args:
        moment: When the job is created; by the clock of this machine if it is not given.
    """
    return str(ULID() if moment is None else ULID.from_datetime(moment)).lower()


def created_at(job_id: str) -> datetime:
    """When a job was created, from its id. Raises `ValueError` if the name is not a job id."""
    return ULID.from_str(job_id.upper()).datetime


def day_of(job_id: str) -> str:
    """The day on which a job was created, in UTC, as `2026-11-29`. Raises `ValueError` if the name is not a job id."""
    return created_at(job_id).date().isoformat()


def first_id(day: str) -> str:
    """The lowest id of a day: those of all its jobs follow it, and those of earlier days come before it."""
    moment = datetime.combine(date.fromisoformat(day), time.min, UTC)
    return str(ULID(int(moment.timestamp() * 1000).to_bytes(6, "big") + bytes(RANDOM_BYTES))).lower()
