"""Job ids."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.state.job_ids import created_at, day_of, first_id, new_job_id


def test_ids_are_unique_and_in_lower_case() -> None:
    ids = {new_job_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(job_id == job_id.lower() for job_id in ids)


def test_ids_sort_by_their_time_of_creation_which_they_contain() -> None:
    earlier = "01k9v0m2q7gq5n9w3t8yx4r6zs"
    later = new_job_id()
    assert earlier < later
    assert created_at(earlier) < created_at(later)
    assert abs(created_at(later) - datetime.now(UTC)) < timedelta(seconds=5)


def test_the_time_of_a_name_that_is_not_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        created_at("not an id")


def test_the_first_id_of_a_day_lies_between_the_ids_of_the_day_before_and_those_of_the_day() -> None:
    midnight = datetime(2026, 11, 29, tzinfo=UTC)
    before, after = new_job_id(midnight - timedelta(milliseconds=1)), new_job_id(midnight)
    assert before < first_id("2026-11-29") < after
    assert [day_of(before), day_of(after), day_of(first_id("2026-11-29"))] == ["2026-11-28", "2026-11-29", "2026-11-29"]
