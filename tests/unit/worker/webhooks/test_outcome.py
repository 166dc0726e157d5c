"""What becomes of a delivery after an attempt."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from archetype.contract.job import now
from archetype.contract.webhook import DeliveryAttempt
from shared.storage.outbox import StoredDelivery
from worker.webhooks.outcome import MAX_WAIT_SECONDS, next_delivery_state, read_retry_after


def make_delivery() -> StoredDelivery:
    moment = now()
    return StoredDelivery(
        id="1", tenant="t", url="https://a.example/", event="job.failed", data={}, created_at=moment, begun_at=moment
    )


def fail(
    delivery: StoredDelivery, *, status: int | None = None, wait: float = 0, final: bool = False
) -> StoredDelivery:
    attempt = DeliveryAttempt(at=now(), seconds=1, status=status, error="down")
    return next_delivery_state(delivery, attempt, now(), wait=wait, final=final)


def get_wait(delivery: StoredDelivery) -> float:
    assert delivery.next_at is not None
    return (delivery.next_at - now()).total_seconds()


def test_waits_between_attempts_grow_and_attempts_end_after_a_day() -> None:
    delivery, waits = make_delivery(), []
    for _ in range(12):
        delivery = fail(delivery)
        waits.append(get_wait(delivery))
    assert 3.5 < waits[0] < 6.1
    assert all(after > before for before, after in pairwise(waits[:10]))
    assert max(waits) <= MAX_WAIT_SECONDS * 1.2
    assert fail(delivery.model_copy(update={"begun_at": now() - timedelta(days=2)})).state == "given_up"


def test_a_receiver_that_is_gone_gets_no_further_attempt() -> None:
    assert fail(make_delivery(), status=410).state == "given_up"
    assert fail(make_delivery(), status=404).state == "waiting"


def test_a_failure_that_cannot_change_gets_no_further_attempt() -> None:
    assert fail(make_delivery(), final=True).state == "given_up"


def test_the_next_attempt_is_not_before_the_time_that_the_receiver_asks_for() -> None:
    assert get_wait(fail(make_delivery(), status=503, wait=600)) > 590
    assert 3.5 < get_wait(fail(make_delivery(), status=503, wait=1)) < 6.1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("120", 120), (" 7 ", 7), ("3601", MAX_WAIT_SECONDS), ("9" * 5000, MAX_WAIT_SECONDS)],
)
def test_a_number_of_seconds_is_honored_up_to_an_hour(value: str, seconds: float, status: int) -> None:
    assert read_retry_after(value, status) == seconds


def test_a_date_is_honored_up_to_an_hour() -> None:
    moment = datetime.now(UTC)
    for after, least, most in ((120, 110, 120), (-120, 0, 0), (10**6, MAX_WAIT_SECONDS, MAX_WAIT_SECONDS)):
        date = format_datetime(moment + timedelta(seconds=after), usegmt=True)
        assert least <= read_retry_after(date, 503) <= most, date


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-5",
        "1.5",
        "1e9",
        "٣",
        "Mon, 99 Nov 2026 25:61:61 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "\x00",
        ",",
        "Sun, 06 Nov 2026 08:49:37 +99999999999",
        "(" * 90,
    ],
)
def test_any_other_value_is_ignored(value: str) -> None:
    assert read_retry_after(value, 503) == 0


def test_the_header_of_other_answers_is_ignored() -> None:
    assert read_retry_after("120", 500) == read_retry_after("120", 200) == read_retry_after(None, 503) == 0


def test_the_last_hundred_attempts_are_kept() -> None:
    delivery = make_delivery()
    for _ in range(103):
        delivery = fail(delivery)
    assert len(delivery.tries) == 100
