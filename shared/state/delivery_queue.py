"""When each webhook delivery is due, in Redis. Tenants take turns, so that none waits for the deliveries of another."""

from collections.abc import Collection, Sequence
from datetime import datetime
from importlib import resources
from typing import NamedTuple, cast

from shared.state.keys import key
from shared.state.memory import RUNS_IF_FULL
from shared.state.redis_client import RedisClient

MAX_WAITING = 10_000
"""Deliveries of a tenant that wait at the same time."""

MAX_LISTED = 1000
"""Newest deliveries of a tenant that can be listed; the log of older ones stays in the store."""

MAX_RESERVED_SECONDS = 3600.0

TENANTS = key("outbox:tenants")
"""Key of the tenants with waiting deliveries, by the time at which their first delivery is due."""

QUEUE_OF_TENANT = key("outbox:due:")
LOOKED = key("outbox:looked")
"""Key of the time at which a sender looked for due deliveries last, in milliseconds."""

KEYS = (key("outbox"), TENANTS, key("outbox:turns"), key("outbox:taken"), LOOKED)


class DeliveryName(NamedTuple):
    """A delivery: its tenant and its id."""

    tenant: str
    id: str


class DeliveryQueue:
    """The waiting deliveries of all tenants. Every call raises `Unavailable` if Redis does not answer."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client
        script = (resources.files("shared.queue") / "scripts" / "outbox.lua").read_text()
        with redis_client.connection() as redis:
            self._script = redis.register_script(RUNS_IF_FULL + script)

    def schedule(self, name: DeliveryName, at: datetime, *, only_new: bool = False) -> bool:
        """Sets when a delivery is due.

        Args:
            name: The delivery.
            at: When it is due.
            only_new: Keep the time that was set before, if there is one.

        Returns:
            Whether the delivery is in the queue. It is not if it is new and `MAX_WAITING` of its tenant wait.
        """
        mode, listed = "new" if only_new else "", key(f"deliveries:{name.tenant}")
        due = int(at.timestamp() * 1000)
        return bool(self._run("schedule", *name, due, MAX_WAITING, mode, listed, MAX_LISTED))

    def take(self, seconds: float, excluded: Collection[str] = ()) -> DeliveryName | None:
        """Takes a delivery that is due, from the tenant that was served longest ago, or returns None.

        Args:
            seconds: How long no other process gets the delivery. It is due again after that time, unless it is
                scheduled or forgotten before. If that happens repeatedly, the time doubles.
            excluded: Tenants of which no delivery is taken.
        """
        taken = self._run("take", int(seconds * 1000), int(MAX_RESERVED_SECONDS * 1000), *excluded)
        return DeliveryName(*cast("Sequence[str]", taken)) if taken else None

    def forget(self, name: DeliveryName) -> None:
        """Removes a delivery that needs no further attempt."""
        self._run("forget", *name)

    def find_unknown(self, tenant: str, ids: Sequence[str]) -> list[str]:
        """Those of a tenant's deliveries that are not in the queue."""
        with self._redis_client.connection() as redis:
            scores = redis.zmscore(QUEUE_OF_TENANT + tenant, list(ids))
        return [delivery_id for delivery_id, score in zip(ids, scores, strict=True) if score is None]

    def list_newest(self, tenant: str, count: int) -> list[str]:
        """The ids of the newest deliveries of a tenant, newest first."""
        with self._redis_client.connection() as redis:
            return cast("list[str]", redis.zrange(key(f"deliveries:{tenant}"), 0, count - 1, desc=True))

    def _run(self, *arguments: str | int) -> object:
        with self._redis_client.connection():
            return self._script(KEYS, [QUEUE_OF_TENANT, *arguments])
