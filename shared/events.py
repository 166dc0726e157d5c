"""What happens to a tenant's jobs: a stream in Redis, to be read from any of the last ten thousand events on.

The events are written by the same scripts that change the jobs (`shared/lua/states.lua`).
"""

from typing import Any, cast

from pydantic import Field

from shared.jobs import Document, Progress, State
from shared.records import Records, key

START = "0-0"


class Event(Document):
    """Something that happened to a job."""

    id: str = Field(exclude=True)
    event: str = Field(exclude=True, examples=["job.progress"])
    job: str = Field(description="The job's id.")
    state: State
    progress: Progress
    thumbnail: str | None = Field(default=None, description="What it looks like now, as a data URL.")


class Events:
    """Reads the streams of tenants. Every call raises `Unavailable` when Redis does not answer."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def latest(self, tenant: str) -> str:
        """The id of the newest event."""
        with self._records.connection() as redis:
            found = cast("list[Any]", redis.xrevrange(_stream(tenant), count=1))
        return str(found[0][0]) if found else START

    def read(self, tenant: str, after: str, *, seconds: float, count: int = 200) -> list[Event]:
        """The events after one, as many as there are up to a number; waits so long for the first, which may not come.

        Args:
            seconds: Less than the connection's own limit of five.
        """
        with self._records.connection() as redis:
            found = cast("list[Any]", redis.xread({_stream(tenant): after}, count=count, block=int(seconds * 1000)))
        return [_read(name, fields) for _, entries in found or () for name, fields in entries]

    def show(self, job_id: str, picture: str, *, seconds: int) -> None:
        """Keeps what a job looks like now, a data URL, for a while."""
        with self._records.connection() as redis:
            redis.set(key(f"thumbnail:{job_id}"), picture, ex=seconds)

    def find_thumbnail(self, job_id: str) -> str | None:
        """What a job looked like when it was shown last, as a data URL."""
        with self._records.connection() as redis:
            return cast("str | None", redis.get(key(f"thumbnail:{job_id}")))


def _read(name: str, fields: dict[str, str]) -> Event:
    progress = Progress(done=int(fields["done"]), total=int(fields["total"]), unit=fields["unit"])
    return Event(id=name, event=fields["event"], job=fields["job"], state=State(fields["state"]), progress=progress)


def _stream(tenant: str) -> str:
    return key(f"events:{tenant}")
