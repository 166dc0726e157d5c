"""Registered releases that wait for their check, in Redis: a queue of limited length for each tenant.

A check occupies a worker for up to some minutes, so tenants take turns: at most one message for each tenant is on its
way, a message makes a worker check one release, and at most one worker checks a release of the same tenant. Jobs and
checks of other tenants are between two of them. The store has the registrations; the recovery puts back what Redis
lost.
"""

from typing import cast

from celery import Celery

from shared.catalogue.release import Release
from shared.queue.celery_app import send_release
from shared.state.keys import key
from shared.state.redis_client import RedisClient

MESSAGE_SECONDS = 600
"""If no worker has received a message by then, another one may be sent."""

MAX_REFUSED = 20
"""Refused releases of a tenant that are kept in the store, for their reasons; older ones are deleted."""


class ReleaseQueue:
    """The queues of all tenants; None as tenant is the operator. Every call raises `Unavailable` without Redis."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client

    def add(self, entry: Release, limit: int | None = None) -> bool:
        """Adds a release to the queue of its tenant; returns False if the queue is full.

        Args:
            entry: The release.
            limit: Largest length of the queue; None if it has already been accepted.
        """
        name = _waiting_key(entry.namespace)
        with self._redis_client.connection() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.zadd(name, {entry.reference: self._redis_client.now().timestamp()}, nx=True)
            pipe.zcard(name)
            is_new, length = pipe.execute()
            if limit is None or not is_new or length <= limit:
                return True
            redis.zrem(name, entry.reference)
            return False

    def remove(self, tenant: str | None, reference: str) -> None:
        """Removes a release, because it is decided or no longer registered."""
        with self._redis_client.connection() as redis:
            redis.zrem(_waiting_key(tenant), reference)

    def find_first(self, tenant: str | None) -> str | None:
        """The reference of the tenant's release that has waited the longest; None if none waits."""
        with self._redis_client.connection() as redis:
            references = cast("list[str]", redis.zrange(_waiting_key(tenant), 0, 0))
        return references[0] if references else None

    def announce_message(self, tenant: str | None) -> bool:
        """Whether a message may be sent for the tenant: none is on its way."""
        with self._redis_client.connection() as redis:
            return bool(redis.set(_message_key(tenant), "1", nx=True, ex=MESSAGE_SECONDS))

    def receive_message(self, tenant: str | None) -> None:
        """Notes that the message of the tenant has arrived, or was not sent."""
        with self._redis_client.connection() as redis:
            redis.delete(_message_key(tenant))

    def add_refused(self, entry: Release) -> list[str]:
        """Notes that a release was refused; returns the references of the tenant's earlier ones that can be deleted."""
        name = _refused_key(entry.namespace)
        with self._redis_client.connection() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.zadd(name, {entry.reference: self._redis_client.now().timestamp()})
            pipe.zrange(name, 0, -MAX_REFUSED - 1)
            pipe.zremrangebyrank(name, 0, -MAX_REFUSED - 1)
            return cast("list[str]", pipe.execute()[1])


def send_next_check(tenant: str | None, release_queue: ReleaseQueue, broker: Celery) -> None:
    """Sends the message for the next release of a tenant, if one waits and no message is on its way.

    Raises:
        Unavailable: Redis does not answer.
    """
    reference = release_queue.find_first(tenant)
    if reference is None or not release_queue.announce_message(tenant):
        return
    name, _, release = reference.partition("@")
    try:
        send_release(broker, name, release, tenant)
    except Exception:
        release_queue.receive_message(tenant)
        raise


def _waiting_key(tenant: str | None) -> str:
    return key(f"releases:waiting:{tenant or ''}")


def _message_key(tenant: str | None) -> str:
    return key(f"releases:message:{tenant or ''}")


def _refused_key(tenant: str | None) -> str:
    return key(f"releases:refused:{tenant or ''}")
