"""Cancellation: by request, and at the deadline."""

import time

import httpx2
import pytest

from archetype.client import Client
from archetype.contract.job import Job, State
from tests.support.api_requests import LONG, QUICK, Submit


def test_a_running_job_is_cancelled_within_two_seconds(http: httpx2.Client, submit: Submit, client: Client) -> None:
    job_id = submit(LONG).json()["id"]
    for job in client.watch(job_id, timeout=400):
        if job.progress.done > 2:
            break
    started = time.monotonic()
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert client.wait(job_id, timeout=10).state is State.CANCELLED
    assert time.monotonic() - started < 2.5
    assert http.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"


def test_a_queued_job_is_cancelled_at_once_and_never_runs(http: httpx2.Client, submit: Submit, client: Client) -> None:
    running = submit(LONG).json()["id"]
    queued = submit(QUICK).json()["id"]
    assert http.post(f"/v1/jobs/{queued}/cancel").json()["state"] == "cancelled"
    client.cancel(running)
    client.wait(running, timeout=20)
    job = client.job(queued)
    assert (job.state, job.artifacts, job.error) == (State.CANCELLED, [], None)


@pytest.mark.parametrize("header", ["0", "-5", "soon", "5 parsecs", "1h30", "9" * 40, ""])
def test_a_cancel_after_that_is_no_duration_is_refused(submit: Submit, header: str) -> None:
    answer = submit(QUICK, Cancel_After=header)
    if header == "1h30":
        assert answer.status_code == 202  # an hour and thirty seconds
        return
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Cancel-After"


def test_a_job_that_has_not_ended_by_its_deadline_is_cancelled_with_the_reason(submit: Submit, client: Client) -> None:
    job = Job.model_validate(submit(LONG, Cancel_After="1s").json())
    assert (job.deadline - job.created_at).total_seconds() == 1
    ended = client.wait(job.id, timeout=30)
    assert (ended.state, ended.error.type) == (State.CANCELLED, "/problems/deadline-exceeded")
    assert "Cancel-After" in ended.error.detail
