"""Times of schedules: what is refused with which field, and the next run."""

from datetime import UTC, datetime

import pytest

from api.services.schedules import check_times, find_next_run
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import now
from archetype.contract.schedule import NewSchedule
from shared.errors import InvalidRequest
from shared.storage.schedules import StoredSchedule


def make_schedule(cron: str | None, timezone: str = "UTC", **fields: int) -> NewSchedule:
    return NewSchedule(model="shapes", plan=AuditPlan(name="nightly"), cron=cron, timezone=timezone, **fields)


@pytest.mark.parametrize(
    ("cron", "timezone"),
    [("30 3 * * 1-5", "Europe/Berlin"), ("*/5 * * * *", "UTC"), ("0 0 29 2 *", "Asia/Kolkata"), (None, "UTC")],
)
def test_valid_times_are_accepted(cron: str | None, timezone: str) -> None:
    check_times(make_schedule(cron, timezone))


@pytest.mark.parametrize(
    "cron", ["0 3 * *", "0 3 * * * *", "61 3 * * *", "0 25 * * *", "0 0 31 2 *", "@daily", "", "x y z a b"]
)
def test_a_wrong_cron_expression_is_refused_with_its_field(cron: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^/cron: ") as refused:
        check_times(make_schedule(cron))
    assert (refused.value.status, refused.value.errors[0].field, refused.value.errors[0].given) == (422, "/cron", cron)


@pytest.mark.parametrize("timezone", ["Mars/Base", "Europe", "../etc/passwd", "/etc/localtime", "utc+1", ""])
@pytest.mark.parametrize("cron", ["0 3 * * *", None])
def test_a_wrong_time_zone_is_refused_with_its_field(timezone: str, cron: str | None) -> None:
    with pytest.raises(InvalidRequest, match=r"^/timezone: ") as refused:
        check_times(make_schedule(cron, timezone))
    error = refused.value.errors[0]
    assert (refused.value.status, error.field, error.given) == (422, "/timezone", timezone)


def test_the_next_run_is_in_the_zone_of_the_schedule_and_within_its_jitter() -> None:
    new = make_schedule("30 3 * * *", "Asia/Kolkata", jitter_seconds=600)
    schedule = StoredSchedule(**dict(new), id="s", tenant="default", since="1", created_at=now())
    due = find_next_run(schedule)
    assert due is not None
    assert due > datetime.now(UTC)
    assert 3 * 3600 + 1800 <= due.hour * 3600 + due.minute * 60 + due.second <= 3 * 3600 + 1800 + 600
    assert str(due.tzinfo) == "Asia/Kolkata"
    assert find_next_run(schedule) == due


def test_a_schedule_without_cron_has_no_next_run() -> None:
    new = make_schedule(None)
    assert find_next_run(StoredSchedule(**dict(new), id="s", tenant="default", since="1", created_at=now())) is None


def test_an_expression_of_an_earlier_version_that_never_matches_has_no_next_run() -> None:
    new = make_schedule("0 0 30 2 *")
    assert find_next_run(StoredSchedule(**dict(new), id="s", tenant="default", since="1", created_at=now())) is None
