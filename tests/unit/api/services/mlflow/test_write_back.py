"""What is written to a registry about an audit."""

from typing import Any

import pytest

from api.services.mlflow.write_back import read_verdict
from archetype.contract.job import State
from shared.state.job_ids import new_job_id
from tests.support.jobs import make_spec


@pytest.mark.parametrize(
    ("state", "metrics", "verdict"),
    [
        (State.SUCCEEDED, {"verdict": "warn"}, "warn"),
        (State.SUCCEEDED, {}, "error"),
        (State.FAILED, {}, "failed"),
        (State.CANCELLED, {"verdict": "pass"}, "cancelled"),
    ],
)
def test_an_audit_without_a_verdict_is_written_as_its_state(
    state: State, metrics: dict[str, Any], verdict: str
) -> None:
    job = make_spec().job(new_job_id()).model_copy(update={"state": state, "metrics": metrics})
    assert read_verdict(job) == verdict
