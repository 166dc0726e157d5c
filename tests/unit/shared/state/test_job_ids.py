"""Job ids."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.state.job_ids import created_at, new_job_id


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
