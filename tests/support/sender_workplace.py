"""A webhook sender in the process of the test, with a Redis database and a bucket of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from archetype.contract.job import now
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.state.redis_client import RedisClient
from shared.storage.outbox import Outbox, StoredDelivery
from shared.storage.s3 import Bucket
from tests.support.waiting import wait_until
from worker.webhooks.exchange import Exchanges
from worker.webhooks.sender import WebhookSender

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class FixedSecret:
    """The same secret for every tenant, or an error."""

    error: Exception | None = None

    def list_signing_secrets(self, _tenant: str) -> list[str]:
        if self.error is not None:
            raise self.error
        return [SECRET]


@dataclass
class Workplace:
    """A sender with a Redis database and a bucket of its own.

    Attributes:
        secrets: The signing secrets.
        exchange_seconds: Deadline of an exchange.
    """

    settings: Settings
    bucket: Bucket
    secrets: FixedSecret = field(default_factory=FixedSecret)
    exchange_seconds: float = 60.0

    def __post_init__(self) -> None:
        self.redis_client = RedisClient(self.settings)
        self.outbox = Outbox(self.redis_client, self.bucket)

    def place(self, url: str, tenant: str = "tenant", **changes: Any) -> StoredDelivery:
        """Stores a message that is due now."""
        moment = now()
        delivery = StoredDelivery(
            id=new_job_id(), tenant=tenant, url=url, event="job.failed", data={}, created_at=moment, begun_at=moment
        ).model_copy(update=changes)
        self.outbox.put(delivery)
        self.outbox.schedule(delivery, now())
        return delivery

    def wait_for(
        self, delivery: StoredDelivery, condition: Callable[[StoredDelivery], object], seconds: float = 60
    ) -> StoredDelivery:
        """Waits until a delivery meets the condition and returns it."""

        def find() -> StoredDelivery | None:
            found = self.outbox.find(delivery.tenant, delivery.id)
            return found if found is not None and condition(found) else None

        found = wait_until(find, seconds, message=lambda: str(self.outbox.find(delivery.tenant, delivery.id)))
        assert found is not None
        return found

    def make_sender(self, clock: Callable[[], float] = time.monotonic) -> WebhookSender:
        exchanges = Exchanges(loopback=True, networks=[], seconds=self.exchange_seconds)
        secrets: Any = self.secrets
        return WebhookSender(self.settings, self.redis_client, self.outbox, secrets, exchanges, clock)

    @contextmanager
    def running(self, clock: Callable[[], float] = time.monotonic) -> Iterator[WebhookSender]:
        """Runs a sender for the length of a `with` block."""
        sender = self.make_sender(clock)
        thread = threading.Thread(target=sender.run, daemon=True)
        thread.start()
        try:
            yield sender
        finally:
            sender.stop()
            thread.join(120)
            assert not thread.is_alive()
