"""Creation of job ids, and the creation time that an id contains."""

from datetime import datetime

from ulid import ULID


def new_job_id(moment: datetime | None = None) -> str:
    """A new ULID in lower case: unique, and sorted by creation time if sorted as text.

    Args:
        moment: When the job is created; by the clock of this machine if it is not given.
    """
    return str(ULID() if moment is None else ULID.from_datetime(moment)).lower()


def created_at(job_id: str) -> datetime:
    """When a job was created, from its id. Raises `ValueError` if the name is not a job id."""
    return ULID.from_str(job_id.upper()).datetime
