"""Submissions that were never completed."""

from archetype.contract.job import now
from shared.lifecycle.rebuild import is_abandoned_submission
from shared.state.job_ids import new_job_id


def test_an_old_open_job_without_a_request_is_abandoned_and_a_new_one_is_not() -> None:
    assert is_abandoned_submission("01k9v0m2q7gq5n9w3t8yx4r6zs", now())
    assert not is_abandoned_submission(new_job_id(), now())
