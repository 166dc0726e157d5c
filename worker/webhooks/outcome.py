"""Decides what becomes of a delivery after an attempt: delivered, given up, or when the next attempt is due."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import uniform

import structlog

from archetype.contract.webhook import DeliveryAttempt
from shared.storage.outbox import StoredDelivery

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 5.0, 3600.0
"""Wait after the first failed attempt, and the longest wait between two attempts."""

GIVE_UP_AFTER = timedelta(days=1)
MAX_ATTEMPTS_LISTED = 100
GONE = 410
BUSY = frozenset({429, 503})
"""Statuses whose `Retry-After` is honored (RFC 9110, RFC 6585)."""

MAX_HEADER = 100
"""Characters of `Retry-After` that are read."""

SECONDS = re.compile(r"[0-9]+")

log = structlog.get_logger()


def next_delivery_state(
    delivery: StoredDelivery, attempt: DeliveryAttempt, moment: datetime, *, wait: float = 0.0, final: bool = False
) -> StoredDelivery:
    """Returns the delivery after an attempt: delivered, given up, or waiting for its next attempt.

    Args:
        delivery: The delivery before the attempt.
        attempt: The attempt.
        moment: The time that all machines share.
        wait: Least wait until the next attempt in seconds, as the receiver asked for it.
        final: Whether no further attempt can succeed.
    """
    attempts = [*delivery.tries, attempt][-MAX_ATTEMPTS_LISTED:]
    if attempt.error is None:
        return delivery.model_copy(update={"state": "delivered", "tries": attempts, "next_at": None})
    if final or attempt.status == GONE or has_expired(delivery, moment):
        log.warning("webhook.given_up", delivery=delivery.id, tenant=delivery.tenant, error=attempt.error)
        return delivery.model_copy(update={"state": "given_up", "tries": attempts, "next_at": None})
    failures = sum(earlier.at >= delivery.begun_at for earlier in attempts)
    usual = min(MAX_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** max(0, failures - 1)) * uniform(0.8, 1.2)  # noqa: S311
    return delivery.model_copy(update={"tries": attempts, "next_at": moment + timedelta(seconds=max(usual, wait))})


def has_expired(delivery: StoredDelivery, moment: datetime) -> bool:
    """Whether the time for the attempts of a delivery is over at a moment."""
    return moment - delivery.begun_at > GIVE_UP_AFTER


def read_retry_after(value: str | None, status: int | None) -> float:
    """The seconds that a receiver asks to wait, at most `MAX_WAIT_SECONDS`; 0 if it does not ask.

    Args:
        value: The header `Retry-After`: seconds or an HTTP date.
        status: Status of the answer.
    """
    if value is None or status not in BUSY:
        return 0.0
    text = value.strip()[:MAX_HEADER]
    if SECONDS.fullmatch(text):
        return min(MAX_WAIT_SECONDS, float(text))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, ArithmeticError, LookupError):  # what it raises depends on the text
        return 0.0
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(MAX_WAIT_SECONDS, max(0.0, (aware - datetime.now(UTC)).total_seconds()))
