"""Webhook deliveries: the outbox of pending messages and the delivery log.

S3 is the source of truth: a message is stored under `outbox/` until it was delivered or given up, and its log under
`deliveries/`. Redis only orders the messages by the time at which they are due.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import groupby, islice
from typing import Any

import structlog
from pydantic import AwareDatetime, ValidationError

from archetype.contract.job import Job, now
from archetype.contract.webhook import Delivery, DeliveryAttempt
from shared.errors import LimitReached
from shared.state.delivery_queue import MAX_WAITING, DeliveryName, DeliveryQueue
from shared.state.job_ids import created_at
from shared.state.redis_client import RedisClient
from shared.storage import layout
from shared.storage.s3 import Bucket

RECONCILED_AT_ONCE = 1000

log = structlog.get_logger()


class StoredDelivery(Delivery):
    """A delivery as it is stored.

    Attributes:
        tenant: Tenant whose webhook it is.
        begun_at: When the message was first sent, or replayed; the time limit of the attempts starts here.
    """

    tenant: str
    begun_at: AwareDatetime


def describe_end(job: Job, moment: datetime) -> StoredDelivery:
    """The message that a job has finished, which is sent from a moment on."""
    fields = ("id", "state", "method", "model", "tags")
    data: dict[str, Any] = {name: getattr(job, name) for name in fields}
    if job.method == "audit":
        data |= {name: job.metrics[name] for name in ("verdict", "summary") if name in job.metrics}
    data["href"] = job.links.get("self", f"/v1/jobs/{job.id}")
    return StoredDelivery(
        id=job.id,
        tenant=job.tenant,
        url=job.webhook or "",
        event=f"job.{job.state}",
        begun_at=moment,
        created_at=job.finished_at or moment,
        data=data,
    )


class Outbox:
    """Messages that have to be delivered. Every call raises `Unavailable` if the store or Redis does not answer.

    Build it once per process: it registers a Lua script.
    """

    def __init__(self, redis_client: RedisClient, bucket: Bucket) -> None:
        self._redis_client = redis_client
        self._queue = DeliveryQueue(redis_client)
        self._bucket = bucket

    def now(self) -> datetime:
        """The time by which messages are due, which all machines share."""
        return self._redis_client.now()

    def put(self, delivery: StoredDelivery) -> None:
        """Stores a message. It becomes due by `schedule`, or by `reconcile` if `schedule` is never called."""
        self._bucket.put_document(layout.outbox_entry(delivery.tenant, delivery.id), delivery)

    def schedule(self, delivery: StoredDelivery, at: datetime) -> None:
        """Makes a stored message due at a time. If too many messages of the tenant wait, it is given up instead."""
        if not self._queue.schedule(_name(delivery), at):
            self.record_attempt(_give_up(delivery, _too_many()))

    def delay(self, name: DeliveryName, at: datetime) -> None:
        """Makes a message due later, without an attempt."""
        self._queue.schedule(name, at)

    def take_due(self, seconds: float, excluded: Collection[str] = ()) -> DeliveryName | None:
        """Takes a message that is due, or returns None. Tenants take turns.

        Args:
            seconds: How long no other process gets the message. It is due again after that time.
            excluded: Tenants of which no message is taken.
        """
        return self._queue.take(seconds, excluded)

    def load(self, name: DeliveryName) -> StoredDelivery | None:
        """The message that was taken; None if it needs no attempt.

        That is so if it was delivered, but the sender stopped before it removed the message from the queue, or if it
        cannot be read. A message that cannot be read is given up.
        """
        try:
            delivery = self._bucket.get_document(layout.outbox_entry(*name), StoredDelivery)
            if delivery is not None and _name(delivery) != name:
                raise ValueError(f"it is the message {delivery.tenant}/{delivery.id}")
        except ValueError as error:  # pydantic's errors are ValueErrors
            log.warning("webhook.unreadable", tenant=name.tenant, delivery=name.id, error=str(error))
            self.record_attempt(_replace_unreadable(name))
            return None
        if delivery is None:
            self._queue.forget(name)
        return delivery

    def record_attempt(self, delivery: StoredDelivery) -> None:
        """Stores the state of a delivery after an attempt, and when the next attempt is due."""
        self._bucket.put_document(layout.delivery_log(delivery.tenant, delivery.id), delivery)
        if delivery.state == "waiting":
            self.put(delivery)
            self.schedule(delivery, delivery.next_at or self.now())
        else:
            self._bucket.delete(layout.outbox_entry(delivery.tenant, delivery.id))
            self._queue.forget(_name(delivery))

    def find(self, tenant: str, delivery_id: str) -> StoredDelivery | None:
        """A delivery with its attempts, or None if there is no such delivery."""
        try:
            log = self._bucket.get_document(layout.delivery_log(tenant, delivery_id), StoredDelivery)
            return log or self._bucket.get_document(layout.outbox_entry(tenant, delivery_id), StoredDelivery)
        except ValidationError:
            return _replace_unreadable(DeliveryName(tenant, delivery_id))

    def list(self, tenant: str, count: int) -> list[StoredDelivery]:
        """The newest deliveries of a tenant, newest first."""
        ids = self._queue.list_newest(tenant, count)
        return [delivery for delivery_id in ids if (delivery := self.find(tenant, delivery_id)) is not None]

    def replay(self, delivery: StoredDelivery) -> StoredDelivery:
        """Sends a message again under the same id. Raises `LimitReached` if too many messages of the tenant wait."""
        replayed = delivery.model_copy(update={"state": "waiting", "begun_at": self.now(), "next_at": self.now()})
        if not self._queue.schedule(_name(replayed), self.now()):
            raise LimitReached(f"{_too_many()}; try again when some of them have ended")
        self.record_attempt(replayed)
        return replayed

    def reconcile(self) -> None:
        """Makes all stored messages due that Redis does not know, for example after a loss of its data."""
        for tenant, names in groupby(self._list_pending(), lambda name: name.tenant):
            while ids := [name.id for name in islice(names, RECONCILED_AT_ONCE)]:
                for delivery_id in self._queue.find_unknown(tenant, ids):
                    self._restore(DeliveryName(tenant, delivery_id))

    def _restore(self, name: DeliveryName) -> None:
        if not self._queue.schedule(name, self.now(), only_new=True) and (delivery := self.load(name)) is not None:
            self.record_attempt(_give_up(delivery, _too_many()))

    def _list_pending(self) -> Iterator[DeliveryName]:
        for place in self._bucket.keys(layout.OUTBOX):
            tenant, _, delivery_id = place.removeprefix(layout.OUTBOX).removesuffix(".json").partition("/")
            if tenant and delivery_id:
                yield DeliveryName(tenant, delivery_id)


def _name(delivery: StoredDelivery) -> DeliveryName:
    return DeliveryName(delivery.tenant, delivery.id)


def _too_many() -> str:
    return f"{MAX_WAITING} messages of the tenant wait for their delivery already"


def _give_up(delivery: StoredDelivery, reason: str) -> StoredDelivery:
    tries = [*delivery.tries, DeliveryAttempt(at=now(), seconds=0, error=reason)]
    return delivery.model_copy(update={"state": "given_up", "tries": tries, "next_at": None})


def _replace_unreadable(name: DeliveryName) -> StoredDelivery:
    """The delivery that is shown and stored in the place of one that cannot be read."""
    moment = now()
    with suppress(ValueError):
        moment = created_at(name.id)
    unreadable = StoredDelivery(
        id=name.id, tenant=name.tenant, url="", event="unreadable", data={}, created_at=moment, begun_at=moment
    )
    return _give_up(unreadable, "the stored message cannot be read; GET /v1/jobs/{id} returns the job itself")
