"""Jobs in their terminal state."""

from archetype.contract.job import State
from shared.errors import AttemptsExhausted
from shared.lifecycle.finish import to_cancelled, to_finished
from tests.support.jobs import make_spec

JOB = make_spec().job("j")


def test_a_finished_job_has_its_state_its_time_and_its_problem() -> None:
    finished = to_finished(JOB, State.FAILED, problem=AttemptsExhausted("three workers stopped"))
    assert finished.state is State.FAILED
    assert finished.finished_at is not None
    assert finished.error is not None
    assert finished.error.title == "Attempts exhausted"
    assert JOB.state is State.QUEUED


def test_a_job_that_a_user_cancelled_has_no_error() -> None:
    cancelled = to_cancelled(JOB, "asked")
    assert (cancelled.state, cancelled.error) == (State.CANCELLED, None)


def test_a_job_after_its_deadline_is_cancelled_with_an_error_that_names_the_deadline() -> None:
    cancelled = to_cancelled(JOB, "deadline")
    assert cancelled.state is State.CANCELLED
    assert cancelled.error is not None
    assert cancelled.error.type == "/problems/deadline-exceeded"
    assert f"{JOB.deadline:%Y-%m-%d %H:%M:%S} UTC" in cancelled.error.detail
