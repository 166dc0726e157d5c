"""Delivers webhooks: `python -m worker.courier`, a process of its own, so that a dead receiver delays nothing else."""

import json
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import uniform
from types import FrameType
from urllib.parse import urlsplit, urlunsplit

import httpx2
import structlog
from standardwebhooks import Webhook

from shared.addresses import Refused, resolve
from shared.bucket import Bucket
from shared.counters import count
from shared.errors import Problem
from shared.jobs import now
from shared.life import show_life
from shared.log import configure_logging
from shared.process import die_with_parent
from shared.records import Records
from shared.settings import Settings
from shared.webhooks import Outbox, SecretStore, StoredDelivery, Try

AT_ONCE, AT_ONCE_PER_HOST = 16, 2
ANSWER_SECONDS = 10.0
TAKEN_SECONDS = 60.0
"""For so long a message is the courier's that took it: longer than it can be busy with it."""

FIRST_SECONDS, LONGEST_SECONDS = 5.0, 3600.0
"""Between a first and a second try, and between any two."""

REST_SECONDS, SPREAD_SECONDS = 60.0, 10.0
"""For so long at most all messages to a host wait for one that failed; and over so long they are spread then."""

GIVEN_UP_AFTER = timedelta(days=1)
IDLE_SECONDS = 0.5
RECONCILE_SECONDS = 30.0

log = structlog.get_logger()


class Courier:
    """Takes what is due and delivers it, a few at a time, and few at a time to the same host."""

    def __init__(self, settings: Settings, records: Records, outbox: Outbox, secrets: SecretStore) -> None:
        self._settings = settings
        self._records = records
        self._outbox = outbox
        self._secrets = secrets
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._resting: dict[str, tuple[int, float]] = {}

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until it is told to stop; what it is busy with is finished."""
        places = threading.BoundedSemaphore(AT_ONCE)
        reconciled = float("-inf")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while not self._stop.is_set():
                show_life(self._settings.life, "courier")
                try:
                    if time.monotonic() - reconciled > RECONCILE_SECONDS:
                        self._outbox.reconcile()
                        reconciled = time.monotonic()
                    if not places.acquire(timeout=IDLE_SECONDS):
                        continue
                    taken = self._outbox.take(TAKEN_SECONDS)
                    if taken is None:
                        places.release()
                        self._stop.wait(IDLE_SECONDS)
                    else:
                        pool.submit(self._deliver, taken).add_done_callback(lambda _: places.release())
                except Problem as problem:
                    log.warning("courier.interrupted", error=problem.detail)
                    self._stop.wait(IDLE_SECONDS)

    def _deliver(self, delivery: StoredDelivery) -> None:
        host = urlsplit(delivery.url).netloc
        try:
            wait = self._enter(host)
            if wait:
                self._outbox.schedule(delivery.tenant, delivery.id, now() + timedelta(seconds=wait))
                return
            tried = self.send(delivery)
            self._leave(host, well=tried.error is None)
            count(self._records, "archetype_webhook_tries", "failed" if tried.error else "delivered")
            self._outbox.note(judge(delivery, tried))
        except Problem as problem:  # it stays the courier's for a while, and is due again then
            log.warning("webhook.unnoted", delivery=delivery.id, error=problem.detail)
        except Exception:
            log.exception("webhook.failed", delivery=delivery.id)

    def _enter(self, host: str) -> float:
        """Takes a place at a host; or, where it has none or rests, in how many seconds to ask again."""
        with self._lock:
            _, until = self._resting.get(host, (0, 0.0))
            if until > time.monotonic():
                return until - time.monotonic() + uniform(0, SPREAD_SECONDS)  # noqa: S311
            if self._busy[host] >= AT_ONCE_PER_HOST:
                return uniform(IDLE_SECONDS, 4 * IDLE_SECONDS)  # noqa: S311
            self._busy[host] += 1
            return 0.0

    def _leave(self, host: str, *, well: bool) -> None:
        """Gives a place back; a host that failed rests, longer each time, and all messages to it wait."""
        with self._lock:
            self._busy[host] -= 1
            failures, _ = self._resting.pop(host, (0, 0.0))
            if not well:
                rest = min(REST_SECONDS, FIRST_SECONDS * 2**failures)
                self._resting[host] = (failures + 1, time.monotonic() + rest)
            if not self._busy[host]:
                del self._busy[host]

    def send(self, delivery: StoredDelivery) -> Try:
        """Tries once: signed, to the address that was checked, without following where it leads."""
        began, clock = now(), time.monotonic()
        status, error = None, None
        try:
            status = self._post(delivery)
            error = None if 200 <= status < 300 else f"the receiver answered {status}"
        except (httpx2.HTTPError, httpx2.InvalidURL, Refused, OSError) as problem:
            error = str(problem)[:300] or type(problem).__name__
        return Try(at=began, seconds=round(time.monotonic() - clock, 3), status=status, error=error)

    def _post(self, delivery: StoredDelivery) -> int:
        parts = urlsplit(delivery.url)
        host, tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        allowed = {"loopback": self._settings.keyless_loopback, "networks": self._settings.webhook_networks}
        address = resolve(host, port, **allowed)  # type: ignore[arg-type]
        literal = f"[{address}]" if ":" in address else address
        target = urlunsplit((parts.scheme, f"{literal}:{port}", parts.path or "/", parts.query, ""))
        body = json.dumps({"type": delivery.event, "timestamp": delivery.created_at.isoformat(), "data": delivery.data})
        headers = {"Host": parts.netloc, "Content-Type": "application/json", **self._sign(delivery, body)}
        extensions = {"sni_hostname": host} if tls else {}
        with (
            httpx2.Client(timeout=ANSWER_SECONDS, follow_redirects=False, trust_env=False) as http,
            http.stream("POST", target, content=body, headers=headers, extensions=extensions) as answer,
        ):
            return int(answer.status_code)

    def _sign(self, delivery: StoredDelivery, body: str) -> dict[str, str]:
        moment = now()
        signatures = [
            Webhook(secret).sign(msg_id=delivery.id, timestamp=moment, data=body)
            for secret in self._secrets.choose(delivery.tenant)
        ]
        return {
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def judge(delivery: StoredDelivery, tried: Try) -> StoredDelivery:
    """What becomes of a message after a try: delivered, given up, or when to try again."""
    tries = [*delivery.tries, tried][-100:]
    if tried.error is None:
        return delivery.model_copy(update={"state": "delivered", "tries": tries, "next_at": None})
    lately = [one for one in tries if one.at >= delivery.begun_at]
    if tried.status == 410 or now() - delivery.begun_at > GIVEN_UP_AFTER:
        log.warning("webhook.given_up", delivery=delivery.id, url=delivery.url, tries=len(tries))
        return delivery.model_copy(update={"state": "given_up", "tries": tries, "next_at": None})
    wait = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** max(0, len(lately) - 1)) * uniform(0.8, 1.2)  # noqa: S311
    return delivery.model_copy(update={"tries": tries, "next_at": now() + timedelta(seconds=wait)})


def main() -> None:
    die_with_parent()
    settings = Settings()
    configure_logging(settings)
    records, bucket = Records(settings), Bucket(settings)
    courier = Courier(settings, records, Outbox(records, bucket), SecretStore(records, bucket))

    def stop(_signal: int, _frame: FrameType | None) -> None:
        courier.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("courier.ready")
    courier.run()


if __name__ == "__main__":
    main()
