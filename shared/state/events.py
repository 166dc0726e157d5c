"""Job events in Redis: one stream for each tenant, and the latest preview image of each job."""

from typing import Any, cast

from archetype.contract.job import Event, Progress, State
from shared.process.answer_time import unhurried
from shared.state.keys import key
from shared.state.redis_client import RedisClient

START = "0-0"
"""An id before that of every event."""


class Events:
    """Reads the event streams of tenants. Every call raises `Unavailable` if Redis does not answer."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client

    def latest(self, tenant: str) -> str:
        """The id of the tenant's newest event."""
        with self._redis_client.connection() as redis:
            entries = cast("list[Any]", redis.xrevrange(_stream_key(tenant), count=1))
        return str(entries[0][0]) if entries else START

    def read(self, tenant: str, after: str, *, seconds: float, count: int = 200) -> list[Event]:
        """The tenant's events after a given one.

        Args:
            tenant: The tenant.
            after: Id of the last event that was read.
            seconds: How long to wait for the first event, at most; less if the connection has less time for an answer.
            count: Maximum number of events.
        """
        with unhurried(), self._redis_client.connection() as redis:
            block = max(1, int(min(seconds, self._redis_client.max_block_seconds) * 1000))  # 0 would be for ever
            streams = cast("list[Any]", redis.xread({_stream_key(tenant): after}, count=count, block=block))
        return [_parse_event(event_id, fields) for _, entries in streams or () for event_id, fields in entries]

    def save_thumbnail(self, job_id: str, data_url: str, *, seconds: int) -> None:
        """Stores the current preview of a job.

        Args:
            job_id: The job.
            data_url: The image as a data URL.
            seconds: How long it is kept.
        """
        with self._redis_client.connection() as redis:
            redis.set(key(f"thumbnail:{job_id}"), data_url, ex=seconds)

    def find_thumbnail(self, job_id: str) -> str | None:
        """The latest preview of a job as a data URL, or None."""
        with self._redis_client.connection() as redis:
            return cast("str | None", redis.get(key(f"thumbnail:{job_id}")))


def _parse_event(event_id: str, fields: dict[str, str]) -> Event:
    progress = Progress(done=int(fields["done"]), total=int(fields["total"]), unit=fields["unit"])
    return Event(id=event_id, event=fields["event"], job=fields["job"], state=State(fields["state"]), progress=progress)


def _stream_key(tenant: str) -> str:
    return key(f"events:{tenant}")
