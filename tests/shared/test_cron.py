"""Times that lines of cron name, by the clocks of places."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.cron import Cron, read_cron, spread


@pytest.mark.parametrize(
    ("line", "zone", "moment", "due"),
    [
        ("30 3 * * *", "UTC", "2026-11-21T12:00", "2026-11-22T03:30"),
        ("30 3 * * *", "Europe/Berlin", "2026-11-21T12:00", "2026-11-22T02:30"),
        ("30 3 * * *", "Europe/Berlin", "2026-07-01T12:00", "2026-07-02T01:30"),
        ("0 9 * * 1-5", "Asia/Kolkata", "2026-11-20T12:00", "2026-11-23T03:30"),
        ("0 0 1 1 *", "UTC", "2026-11-20T12:00", "2027-01-01T00:00"),
        ("*/15 * * * *", "America/New_York", "2026-11-20T12:07", "2026-11-20T12:15"),
    ],
)
def test_a_line_is_read_by_the_clock_of_its_place(line: str, zone: str, moment: str, due: str) -> None:
    found = Cron(line, zone).next_after(datetime.fromisoformat(moment + "+00:00"))
    assert found == datetime.fromisoformat(due + "+00:00")


def test_a_night_without_that_hour_and_one_that_has_it_twice_are_one_time_each() -> None:
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    for first_day, count in [("2026-03-27", 4), ("2026-10-23", 4)]:
        moment = datetime.fromisoformat(first_day + "T12:00+00:00")
        found = []
        for _ in range(count):
            moment = nightly.next_after(moment)
            found.append(moment.date())
        assert found == sorted(set(found))
        assert found[-1] - found[0] == timedelta(days=count - 1)


def test_what_comes_late_comes_after_every_time_and_leaves_none_out() -> None:
    late = Cron("*/5 * * * *", "UTC", late=400)
    moment, found = datetime(2026, 11, 21, 12, 0, tzinfo=UTC), []
    for _ in range(3):
        moment = late.next_after(moment)
        found.append(f"{moment:%H:%M:%S}")
    assert found == ["12:01:40", "12:06:40", "12:11:40"]


def test_celery_sees_the_same_times() -> None:
    hourly = Cron("0 * * * *", "Europe/Berlin", late=90)
    now = datetime.now(UTC)
    assert abs(now + hourly.remaining_estimate(now) - hourly.next_after(now)) < timedelta(seconds=2)
    assert hourly.is_due(now - timedelta(hours=2)).is_due
    assert not hourly.is_due(now).is_due


@pytest.mark.parametrize(
    ("line", "zone", "why"),
    [
        ("0 3 * *", "UTC", "4 fields"),
        ("99 3 * * *", "UTC", "99"),
        ("a b c d e", "UTC", "e"),
        ("0 0 31 2 *", "UTC", "never"),
        ("0 3 * * *", "Mars/Base", "no time zone"),
        ("0 3 * * *", "../../etc/passwd", "no time zone"),
    ],
)
def test_what_is_no_line_or_no_place_is_refused(line: str, zone: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_cron(line, zone)


def test_many_are_spread_and_each_stays_where_it_is() -> None:
    found = [spread(f"schedule {number}", 600) for number in range(1000)]
    assert found == [spread(f"schedule {number}", 600) for number in range(1000)]
    assert 0 <= min(found) < 20
    assert 580 < max(found) <= 600
    assert spread("alone", 0) == 0
