"""Waiting for jobs."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2

from tests.support.api_requests import LONG, QUICK, Submit


def test_prefer_wait_answers_with_the_result(submit: Submit) -> None:
    assert submit(QUICK, Prefer="wait=50").json()["state"] == "succeeded"


def test_prefer_wait_answers_after_its_seconds_if_the_job_runs_on(submit: Submit) -> None:
    started = time.monotonic()
    assert submit(LONG, Prefer="wait=1").json()["state"] in ("queued", "running")
    assert 0.9 < time.monotonic() - started < 5


def test_requests_that_wait_for_jobs_leave_threads_for_other_requests(http: httpx2.Client, submit: Submit) -> None:
    with ThreadPoolExecutor(24) as pool:
        waiting = [pool.submit(submit, LONG, Prefer="wait=4") for _ in range(24)]
        time.sleep(1)
        started = time.monotonic()
        assert http.get("/healthz").status_code == 200
        assert time.monotonic() - started < 1.5
    assert all(answer.result().status_code == 202 for answer in waiting)
