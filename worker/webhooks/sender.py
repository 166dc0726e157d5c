"""Sends the messages of the outbox that are due, many at once, so that no tenant and no receiver delays another."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import structlog

from archetype.contract.job import now
from archetype.contract.webhook import DeliveryAttempt
from shared.errors import Problem
from shared.process.liveness import touch_liveness_file
from shared.settings import Settings
from shared.state.delivery_queue import DeliveryName
from shared.state.metrics import increment
from shared.state.redis_client import RedisClient
from shared.storage.outbox import Outbox, StoredDelivery
from shared.storage.webhook_secrets import SecretStore
from shared.validation.webhook_url import parse_url
from worker.webhooks.exchange import Exchanges
from worker.webhooks.message import make_message
from worker.webhooks.outcome import has_expired, next_delivery_state, read_retry_after
from worker.webhooks.slots import MAX_CONCURRENT, Slots

RESERVED_SECONDS = 60.0
"""How long a delivery belongs to the sender that took it: longer than one attempt can take."""

IDLE_SECONDS = 0.5
RECONCILE_SECONDS = 30.0
MAX_ERROR_LENGTH = 300

LIVENESS_FILE = "webhook-sender"
"""The name that the liveness probes of the deployments look for."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Sent:
    """Result of an attempt.

    Attributes:
        attempt: What is stored of the attempt.
        wait: How long the receiver asks to wait, in seconds.
        final: Whether no further attempt can succeed.
    """

    attempt: DeliveryAttempt
    wait: float = 0.0
    final: bool = False

    @classmethod
    def failed(cls, error: Exception | str, *, final: bool = False) -> "Sent":
        """An attempt that failed before anything was sent."""
        return cls(DeliveryAttempt(at=now(), seconds=0, error=describe_error(error)), final=final)


class WebhookSender:
    """Sends due deliveries. `Slots` limits how many run at once, in all, for a tenant and for a receiver."""

    def __init__(
        self,
        settings: Settings,
        redis_client: RedisClient,
        outbox: Outbox,
        secrets: SecretStore,
        exchanges: Exchanges | None = None,
    ) -> None:
        self._settings = settings
        self._redis_client = redis_client
        self._outbox = outbox
        self._secrets = secrets
        self._exchanges = exchanges or Exchanges(loopback=settings.keyless_loopback, networks=settings.webhook_networks)
        self._slots = Slots()
        self._is_stopping = False
        self._changed = threading.Event()

    def stop(self) -> None:
        """Makes `run` return after the attempts that are under way. Takes no lock: signal handlers call it."""
        self._is_stopping = True

    def run(self) -> None:
        """Sends deliveries until `stop` is called."""
        threading.Thread(target=self._reconcile, name="reconcile", daemon=True).start()
        with ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="delivery") as pool:
            while not self._is_stopping:
                touch_liveness_file(self._settings.liveness_dir, LIVENESS_FILE)
                self._changed.clear()
                if not self._start_next(pool):
                    self._changed.wait(IDLE_SECONDS)

    def _reconcile(self) -> None:
        """Runs in a thread of its own, because a listing of the store can take long."""
        while not self._is_stopping:
            try:
                self._outbox.reconcile()
            except Exception as error:
                _log_interruption("webhook_sender.unreconciled", error)
            time.sleep(RECONCILE_SECONDS)

    def _start_next(self, pool: ThreadPoolExecutor) -> bool:
        """Starts the next delivery; returns False if none is due, or there is no slot for it."""
        if not self._slots.has_free():
            return False
        try:
            name = self._outbox.take_due(RESERVED_SECONDS, self._slots.list_full_tenants())
            if name is None:
                return False
            self._slots.take(name.tenant)
            try:
                pool.submit(self._deliver, name)
            except RuntimeError:  # the machine has no thread left
                self._slots.give_back(name.tenant)
                raise
            return True
        except Exception as error:
            _log_interruption("webhook_sender.interrupted", error)
            return False

    def _deliver(self, name: DeliveryName) -> None:
        try:
            delivery = self._outbox.load(name)
            if delivery is not None:
                self._attempt(name, delivery)
        except Exception as error:  # the delivery is due again after `RESERVED_SECONDS`
            _log_interruption("webhook.unnoted", error, tenant=name.tenant, delivery=name.id)
        finally:
            self._slots.give_back(name.tenant)
            self._changed.set()

    def _attempt(self, name: DeliveryName, delivery: StoredDelivery) -> None:
        try:
            receiver = parse_url(delivery.url).origin
        except ValueError as error:  # an entry of an earlier version
            self._record(delivery, Sent.failed(error, final=True))
            return
        if has_expired(delivery, self._outbox.now()):
            self._record(delivery, Sent.failed("the time for attempts is over; a replay sends it again", final=True))
        elif wait := self._slots.enter(name.tenant, receiver):
            self._outbox.delay(name, self._outbox.now() + timedelta(seconds=wait))
        else:
            self._record(delivery, self._send_and_leave(delivery, receiver))

    def _send_and_leave(self, delivery: StoredDelivery, receiver: str) -> Sent:
        sent = Sent.failed("the sender was interrupted")
        try:
            sent = self.send(delivery)
        finally:
            seconds, failed = sent.attempt.seconds, sent.attempt.error is not None
            self._slots.leave(delivery.tenant, receiver, seconds=seconds, failed=failed, pause=sent.wait)
        return sent

    def _record(self, delivery: StoredDelivery, sent: Sent) -> None:
        outcome = "failed" if sent.attempt.error is not None else "delivered"
        increment(self._redis_client, "archetype_webhook_tries", outcome)
        moment = self._outbox.now()
        self._outbox.record_attempt(
            next_delivery_state(delivery, sent.attempt, moment, wait=sent.wait, final=sent.final)
        )

    def send(self, delivery: StoredDelivery) -> Sent:
        """Makes one attempt. Whatever goes wrong is the error of the attempt."""
        began, clock = self._outbox.now(), time.monotonic()
        status, error, wait = None, None, 0.0
        try:
            body, headers = make_message(delivery, self._secrets.list_signing_secrets(delivery.tenant))
            answer = self._exchanges.post(delivery.tenant, parse_url(delivery.url), body, headers)
            status, wait = answer.status, read_retry_after(answer.retry_after, answer.status)
            error = None if 200 <= status < 300 else f"the receiver answered {status}"
        except Exception as problem:
            error = describe_error(problem)
        seconds = round(time.monotonic() - clock, 3)
        return Sent(DeliveryAttempt(at=began, seconds=seconds, status=status, error=error), wait)


def describe_error(error: Exception | str) -> str:
    """An error as it is stored: never empty, and not too long."""
    return str(error)[:MAX_ERROR_LENGTH] or type(error).__name__


def _log_interruption(event: str, error: Exception, **context: str) -> None:
    """Logs a problem of Redis or the store in one line, and anything else with its traceback."""
    if isinstance(error, Problem):
        log.warning(event, error=error.detail, **context)
    else:
        log.error(event, exc_info=error, **context)
