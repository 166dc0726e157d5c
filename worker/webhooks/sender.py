"""Sends the messages of the outbox that are due, many at once, so that no tenant and no receiver delays another."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from archetype.contract.job import now
from archetype.contract.webhook import DeliveryAttempt
from shared.errors import Problem, Unavailable
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
from worker.webhooks.slots import MAX_CONCURRENT, Slot, Slots

RESERVED_SECONDS = 60.0
"""How long a delivery belongs to the sender that took it: longer than one attempt usually takes."""

POSTPONED_SECONDS = 10.0
"""Wait after the store or Redis did not answer before anything was sent."""

STUCK_SECONDS = 420.0
"""After this time a delivery will not end: longer than an exchange, four calls of the store and three of Redis."""

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._redis_client = redis_client
        self._outbox = outbox
        self._secrets = secrets
        self._exchanges = exchanges or Exchanges(loopback=settings.keyless_loopback, networks=settings.webhook_networks)
        self._slots = Slots(clock)
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
                self._show_liveness()
                self._changed.clear()
                if not self._start_next(pool):
                    self._changed.wait(IDLE_SECONDS)

    def _show_liveness(self) -> None:
        """Touches the liveness file, unless a delivery has hung: its slot is lost, which only a restart repairs.

        Without Redis or the store nothing is delivered, but calls end, and a restart does not help.
        """
        if self._slots.measure_oldest() < STUCK_SECONDS:
            touch_liveness_file(self._settings.liveness_dir, LIVENESS_FILE)

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
            slot = self._slots.take(name.tenant)
            try:
                pool.submit(self._deliver, slot, name)
            except RuntimeError:  # the machine has no thread left
                self._slots.give_back(slot)
                raise
            return True
        except Exception as error:
            _log_interruption("webhook_sender.interrupted", error)
            return False

    def _deliver(self, slot: Slot, name: DeliveryName) -> None:
        try:
            ended = self._attempt(slot, name)
            if ended is not None:
                self._record(*ended)
        except Exception as error:  # the delivery is due again after `RESERVED_SECONDS`
            _log_interruption("webhook.unnoted", error, tenant=name.tenant, delivery=name.id)
        finally:
            self._slots.give_back(slot)
            self._changed.set()

    def _attempt(self, slot: Slot, name: DeliveryName) -> tuple[StoredDelivery, Sent] | None:
        """Makes an attempt; returns None if there was none, because the delivery has to wait or needs none."""
        try:
            delivery = self._outbox.load(name)
            return None if delivery is None else self._attempt_loaded(slot, name, delivery)
        except Unavailable as problem:  # not the fault of the receiver, and nothing was sent
            _log_interruption("webhook.postponed", problem, tenant=name.tenant, delivery=name.id)
            with suppress(Unavailable):
                self._outbox.delay(name, self._outbox.now() + timedelta(seconds=POSTPONED_SECONDS))
            return None

    def _attempt_loaded(
        self, slot: Slot, name: DeliveryName, delivery: StoredDelivery
    ) -> tuple[StoredDelivery, Sent] | None:
        try:
            receiver = parse_url(delivery.url).origin
        except ValueError as error:  # an entry of an earlier version
            return delivery, Sent.failed(error, final=True)
        if has_expired(delivery, self._outbox.now()):
            return delivery, Sent.failed("the time for attempts is over; a replay sends it again", final=True)
        if wait := self._slots.enter(slot, receiver):
            self._outbox.delay(name, self._outbox.now() + timedelta(seconds=wait))
            return None
        sent = self.send(delivery)
        failed = sent.attempt.error is not None
        self._slots.leave(slot, seconds=sent.attempt.seconds, failed=failed, pause=sent.wait)
        return delivery, sent

    def _record(self, delivery: StoredDelivery, sent: Sent) -> None:
        outcome = "failed" if sent.attempt.error is not None else "delivered"
        increment(self._redis_client, "archetype_webhook_tries", outcome)
        moment = self._outbox.now()
        self._outbox.record_attempt(
            next_delivery_state(delivery, sent.attempt, moment, wait=sent.wait, final=sent.final)
        )

    def send(self, delivery: StoredDelivery) -> Sent:
        """Makes one attempt. Whatever goes wrong is the error of the attempt.

        Raises:
            Unavailable: The secrets of the tenant cannot be read, so that nothing was sent.
        """
        began, clock = self._outbox.now(), time.monotonic()
        status, error, wait = None, None, 0.0
        try:
            secrets = self._secrets.list_signing_secrets(delivery.tenant)
            body, headers = make_message(delivery, secrets, self._settings)
            answer = self._exchanges.post(delivery.tenant, parse_url(delivery.url), body, headers)
            status, wait = answer.status, read_retry_after(answer.retry_after, answer.status)
            error = None if 200 <= status < 300 else f"the receiver answered {status}"
        except Unavailable:
            raise
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
