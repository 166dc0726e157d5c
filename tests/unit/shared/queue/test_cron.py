"""Times of cron expressions in time zones."""

import pickle
import random
from copy import copy
from datetime import UTC, datetime, timedelta

import pytest

from shared.queue.cron import Cron, read_cron, spread


@pytest.mark.parametrize(
    ("line", "zone", "moment", "due"),
    [
        ("30 3 * * *", "UTC", "2026-11-21T12:00", "2026-11-22T03:30"),
        ("30 3 * * *", "Europe/Berlin", "2026-11-21T12:00", "2026-11-22T02:30"),
        ("30 3 * * *", "Europe/Berlin", "2026-07-01T12:00", "2026-07-02T01:30"),
        ("0 9 * * 1-5", "Asia/Kolkata", "2026-11-20T12:00", "2026-11-23T03:30"),
        ("0 0 1 1 *", "UTC", "2026-11-20T12:00", "2027-01-01T00:00"),
        ("*/15 * * * *", "America/New_York", "2026-11-20T12:07", "2026-11-20T12:15"),
        ("0 0 * * 7", "UTC", "2026-11-20T12:00", "2026-11-22T00:00"),
        ("0 0 * * 0", "UTC", "2026-11-20T12:00", "2026-11-22T00:00"),
        ("0 0 * * 5-7", "UTC", "2026-11-21T12:00", "2026-11-22T00:00"),
        ("0 0 * * SUN", "UTC", "2026-11-20T12:00", "2026-11-22T00:00"),
        ("0 0 1 jan *", "UTC", "2026-11-20T12:00", "2027-01-01T00:00"),
        ("0 0 * FEB-APR mon-wed", "UTC", "2026-11-20T12:00", "2027-02-01T00:00"),
        ("0 0 13 * 5", "UTC", "2026-11-20T12:00", "2026-11-27T00:00"),
        ("0 0 13 * 5", "UTC", "2026-12-11T12:00", "2026-12-13T00:00"),
        ("0 0 13 * *", "UTC", "2026-11-20T12:00", "2026-12-13T00:00"),
        ("0 0 */2 * 1", "UTC", "2026-11-20T12:00", "2026-11-23T00:00"),
        ("0 0 30 2 1", "UTC", "2026-11-20T12:00", "2027-02-01T00:00"),
        ("5,35 9-17/4 * * *", "UTC", "2026-11-20T13:06", "2026-11-20T13:35"),
        ("0 0 29 2 *", "UTC", "2026-11-20T12:00", "2028-02-29T00:00"),
    ],
)
def test_an_expression_is_evaluated_in_its_time_zone(line: str, zone: str, moment: str, due: str) -> None:
    next_time = Cron(line, zone).next_after(datetime.fromisoformat(moment + "+00:00"))
    assert next_time == datetime.fromisoformat(due + "+00:00")


def test_a_nightly_time_occurs_once_when_the_clocks_change() -> None:
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    for first_day, count in [("2026-03-27", 4), ("2026-10-23", 4)]:
        moment = datetime.fromisoformat(first_day + "T12:00+00:00")
        days = []
        for _ in range(count):
            moment = nightly.next_after(moment)
            days.append(moment.date())
        assert days == sorted(set(days))
        assert days[-1] - days[0] == timedelta(days=count - 1)


def test_a_time_that_the_clocks_skip_runs_at_the_next_minute_that_exists() -> None:
    due = Cron("30 2 * * *", "Europe/Berlin").next_after(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert due == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert f"{due:%H:%M}" == "03:00"


def test_a_time_that_the_clocks_repeat_lies_after_the_moment_asked_for() -> None:
    second_half_past_two = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    nightly, quarters = Cron("30 2 * * *", "Europe/Berlin"), Cron("*/15 * * * *", "Europe/Berlin")
    assert nightly.next_after(second_half_past_two) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert quarters.next_after(second_half_past_two).astimezone(UTC) == datetime(2026, 10, 25, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "moment", "due"),
    [
        ("0 22-2 * * *", "2026-11-20T02:30", "2026-11-20T22:00"),
        ("0 22-2 * * *", "2026-11-20T23:30", "2026-11-21T00:00"),
        ("0 0 * * fri-mon", "2026-11-20T12:00", "2026-11-21T00:00"),
        ("0 0 * * Sunday", "2026-11-20T12:00", "2026-11-22T00:00"),
    ],
)
def test_expressions_that_earlier_versions_stored_are_still_understood(line: str, moment: str, due: str) -> None:
    next_time = Cron(line, "UTC").next_after(datetime.fromisoformat(moment + "+00:00"))
    assert next_time == datetime.fromisoformat(due + "+00:00")


def test_a_delay_is_added_to_every_time_and_no_time_is_lost() -> None:
    late = Cron("*/5 * * * *", "UTC", late=400)
    moment, times = datetime(2026, 11, 21, 12, 0, tzinfo=UTC), []
    for _ in range(3):
        moment = late.next_after(moment)
        times.append(f"{moment:%H:%M:%S}")
    assert times == ["12:01:40", "12:06:40", "12:11:40"]


def test_celery_gets_the_same_times() -> None:
    hourly = Cron("0 * * * *", "Europe/Berlin", late=90)
    now = datetime.now(UTC)
    assert abs(now + hourly.remaining_estimate(now) - hourly.next_after(now)) < timedelta(seconds=2)
    assert hourly.is_due(now - timedelta(hours=2)).is_due
    assert not hourly.is_due(now).is_due


def test_a_schedule_of_celery_survives_a_copy() -> None:
    hourly = Cron("0 * * * 7", "Europe/Berlin", late=90)
    assert pickle.loads(pickle.dumps(hourly)) == copy(hourly) == hourly
    assert hourly != Cron("0 * * * 7", "UTC", late=90)


@pytest.mark.parametrize(
    ("line", "zone", "why"),
    [
        ("0 3 * *", "UTC", "4 fields"),
        ("99 3 * * *", "UTC", "99"),
        ("a b c d e", "UTC", "minute"),
        ("0 24 * * *", "UTC", "'hour' is '24'; give values from 0 to 23"),
        ("0 0 0 * *", "UTC", "day"),
        ("0 0 * 13 *", "UTC", "month"),
        ("0 0 * * 8", "UTC", "day of the week"),
        ("0 0 * * FRI-MON", "UTC", "day of the week"),
        ("0 22-2 * * *", "UTC", "hour"),
        ("*/0 * * * *", "UTC", "minute"),
        ("1,,2 * * * *", "UTC", "minute"),
        ("0 0 * * 1#2/3", "UTC", "day of the week"),
        ("0 0 31 2 *", "UTC", "never occurs"),
        ("0 0 30 2 *", "UTC", "never occurs"),
        ("0 0 31 4,6,9,11 *", "UTC", "never occurs"),
        ("0 0 30 FEB */2", "UTC", "never occurs"),
        ("0 3 * * *", "Mars/Base", "no time zone"),
        ("0 3 * * *", "../../etc/passwd", "no time zone"),
    ],
)
def test_an_invalid_expression_or_time_zone_is_refused(line: str, zone: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_cron(line, zone)


def test_every_text_is_accepted_with_a_next_time_or_refused_as_a_value() -> None:
    draw = random.Random(7)
    pieces = [*"*/-,#LW?@017²", "*/", "30", "31", "59", "FEB", "MON", " "]
    accepted = 0
    for _ in range(3000):
        fields = ["*", "*", *("".join(draw.choices(pieces, k=draw.choice([1, 1, 3]))) for _ in range(3))]
        try:
            read_cron(" ".join(fields), "Europe/Berlin")
            accepted += 1
        except ValueError:
            pass
    assert 0 < accepted < 3000


def test_delays_are_spread_evenly_and_depend_only_on_the_name() -> None:
    delays = [spread(f"schedule {number}", 600) for number in range(1000)]
    assert delays == [spread(f"schedule {number}", 600) for number in range(1000)]
    assert 0 <= min(delays) < 20
    assert 580 < max(delays) <= 600
    assert spread("alone", 0) == 0
