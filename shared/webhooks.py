"""Webhooks: what is to be told to whom, what became of it, and the secrets that it is signed with.

S3 is the truth here too: a message lies under `outbox/` until it was delivered or given up, and its log under
`deliveries/`. Redis only knows when which is due.
"""

import secrets
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib import resources
from typing import Any, Literal, cast

from pydantic import Field

from shared.bucket import Bucket
from shared.jobs import Document, Job, now
from shared.records import Records, key

MOST_LISTED = 1000
"""Of a tenant's deliveries that can be listed; the log of older ones stays in the store."""

OVERLAP = timedelta(days=1)
"""For so long after a new secret was made, messages are signed with the one before as well."""


class Try(Document):
    """One try to deliver."""

    at: datetime
    seconds: float
    status: int | None = Field(default=None, description="What the receiver answered; null where it did not.")
    error: str | None = None


class Delivery(Document):
    """A message to a webhook: what it says, and what became of it."""

    id: str = Field(description="`webhook-id`: the same however often it is tried. A receiver takes each once.")
    url: str
    event: str = Field(examples=["job.succeeded"])
    data: dict[str, Any] = Field(description="Thin: ask for the job to know more.")
    created_at: datetime
    state: Literal["waiting", "delivered", "given_up"] = "waiting"
    tries: list[Try] = Field(default=[])
    next_at: datetime | None = None


class StoredDelivery(Delivery):
    """A delivery as it is stored.

    Attributes:
        begun_at: When it was sent off, or sent off again: tries are counted from here.
    """

    tenant: str
    begun_at: datetime


class Deliveries(Document):
    """The newest deliveries of a tenant."""

    items: list[Delivery]


class Secret(Document):
    """What messages are signed with (Standard Webhooks)."""

    secret: str = Field(description="Give it to the receiver; `standardwebhooks` checks signatures with it.")
    created_at: datetime


class Secrets(Document):
    """The secrets of a tenant, the newest first."""

    items: list[Secret] = Field(default=[])


def describe_end(job: Job) -> StoredDelivery:
    """The message that a job has ended."""
    data: dict[str, Any] = {
        "id": job.id,
        "state": job.state,
        "method": job.method,
        "model": job.model,
        "tags": job.tags,
    }
    if job.method == "audit":
        data |= {name: job.metrics[name] for name in ("verdict", "summary") if name in job.metrics}
    return StoredDelivery(
        id=job.id, tenant=job.tenant, url=job.webhook or "", event=f"job.{job.state}", begun_at=now(),
        created_at=job.finished_at or now(),
        data={**data, "href": job.links.get("self", f"/v1/jobs/{job.id}")},
    )  # fmt: skip


class Outbox:
    """Messages that are to be delivered. Every call raises `Unavailable` when the store or Redis does not answer."""

    def __init__(self, records: Records, bucket: Bucket) -> None:
        self._records = records
        self._bucket = bucket
        script = (resources.files("shared") / "lua" / "take_due.lua").read_text()
        with records.connection() as redis:
            self._take = redis.register_script(script)

    def put(self, delivery: StoredDelivery) -> None:
        """Stores a message; it is due when `schedule` says so, or when a look at the store finds it."""
        self._bucket.put_document(_open(delivery.tenant, delivery.id), delivery)

    def schedule(self, tenant: str, identity: str, at: datetime, *, only_new: bool = False) -> None:
        """Says when a message is due."""
        with self._records.connection() as redis:
            redis.zadd(key("outbox"), {f"{tenant}/{identity}": at.timestamp() * 1000}, nx=only_new)
            redis.zadd(_listed(tenant), {identity: 0})
            redis.zremrangebyrank(_listed(tenant), 0, -MOST_LISTED - 1)

    def take(self, seconds: float) -> StoredDelivery | None:
        """A message that is due, for so long nobody else's; None where there is none."""
        while True:
            with self._records.connection():
                name = cast("str | None", self._take([key("outbox")], [int(seconds * 1000)]))
            if name is None:
                return None
            found = self._bucket.get_document(f"outbox/{name}.json", StoredDelivery)
            if found is not None:
                return found
            self._forget(name)  # it was delivered, and whoever did so died before it was noted

    def note(self, delivery: StoredDelivery) -> None:
        """Writes down what became of a try."""
        self._bucket.put_document(_log(delivery.tenant, delivery.id), delivery)
        if delivery.state == "waiting":
            self._bucket.put_document(_open(delivery.tenant, delivery.id), delivery)
            self.schedule(delivery.tenant, delivery.id, delivery.next_at or now())
        else:
            self._bucket.delete(_open(delivery.tenant, delivery.id))
            self._forget(f"{delivery.tenant}/{delivery.id}")

    def find(self, tenant: str, identity: str) -> StoredDelivery | None:
        """What became of a message."""
        log = self._bucket.get_document(_log(tenant, identity), StoredDelivery)
        return log or self._bucket.get_document(_open(tenant, identity), StoredDelivery)

    def list(self, tenant: str, count: int) -> list[StoredDelivery]:
        """The newest messages of a tenant."""
        with self._records.connection() as redis:
            names = cast("list[str]", redis.zrange(_listed(tenant), 0, count - 1, desc=True))
        return [found for name in names if (found := self.find(tenant, name)) is not None]

    def replay(self, delivery: StoredDelivery) -> StoredDelivery:
        """Sends a message again, under its own id."""
        again = delivery.model_copy(update={"state": "waiting", "begun_at": now(), "next_at": now()})
        self.note(again)
        return again

    def reconcile(self) -> None:
        """What lies in the store and is not due at any time is due now: Redis has forgotten it."""
        for name in self._opened():
            tenant, _, identity = name.partition("/")
            self.schedule(tenant, identity, now(), only_new=True)

    def _opened(self) -> Iterator[str]:
        return (place.removeprefix("outbox/").removesuffix(".json") for place in self._bucket.keys("outbox/"))

    def _forget(self, name: str) -> None:
        with self._records.connection() as redis:
            redis.zrem(key("outbox"), name)


class SecretStore:
    """The secrets of tenants."""

    def __init__(self, records: Records, bucket: Bucket) -> None:
        self._records = records
        self._bucket = bucket

    def find(self, tenant: str) -> Secrets:
        """A tenant's secrets; the first is made when it is first asked for."""
        found = self._bucket.get_document(_secrets(tenant), Secrets)
        return found if found is not None else self.renew(tenant)

    def renew(self, tenant: str) -> Secrets:
        """Makes a new secret; the one before is good for a day more."""
        with self._records.alone(f"secret:{tenant}", 30):
            earlier = self._bucket.get_document(_secrets(tenant), Secrets) or Secrets()
            fresh = Secret(secret=f"whsec_{b64encode(secrets.token_bytes(32)).decode()}", created_at=now())
            renewed = Secrets(items=[fresh, *earlier.items[:1]])
            self._bucket.put_document(_secrets(tenant), renewed)
        return renewed

    def choose(self, tenant: str) -> list[str]:
        """What a message is signed with now."""
        newest, *earlier = self.find(tenant).items
        old = [one.secret for one in earlier if now() - newest.created_at < OVERLAP]
        return [newest.secret, *old]


def _open(tenant: str, identity: str) -> str:
    return f"outbox/{tenant}/{identity}.json"


def _log(tenant: str, identity: str) -> str:
    return f"deliveries/{tenant}/{identity}.json"


def _secrets(tenant: str) -> str:
    return f"access/webhooks/{tenant}.json"


def _listed(tenant: str) -> str:
    return key(f"deliveries:{tenant}")
