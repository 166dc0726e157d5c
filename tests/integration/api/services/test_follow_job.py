"""Waiting for jobs, and following them."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import httpx2
import redis

from api.app import create_app
from api.services.follow_job import follow_job
from archetype.contract.job import State
from deploy.local import Stack
from shared.queue.claims import Claims
from shared.state.events import Events
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from tests.support.api_requests import LONG, QUICK, Submit
from tests.support.jobs import place


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


def test_a_quiet_job_gives_a_sign_of_life_while_other_jobs_of_the_tenant_are_busy(stack: Stack) -> None:
    """Without it, nothing is sent to a client that has gone, and its place is not free for up to an hour."""
    url = stack.settings.redis_url.removesuffix("/0") + "/10"
    settings = stack.settings.model_copy(update={"redis_url": url})
    patient, connection, is_over = RedisClient(settings), redis.Redis.from_url(url), Event()
    services = create_app(settings).extensions["archetype"]
    services = replace(services, events=Events(patient), job_index=JobIndex(patient))
    job = place(Claims(patient))
    fields = {"event": "job.progress", "job": new_job_id(), "state": "running", "done": 1, "total": 2, "unit": "step"}

    def be_busy() -> None:
        while not is_over.wait(0.05):
            connection.xadd("archetype:events:default", fields, maxlen=100)

    with ThreadPoolExecutor() as threads:
        busy = threads.submit(be_busy)
        try:
            events = follow_job(job.id, "default", None, services)
            first = next(events)
            assert first is not None
            assert (first.job, first.state) == (job.id, State.QUEUED)
            assert threads.submit(next, events).result(60) is None
            assert not busy.done()
        finally:
            is_over.set()
    connection.flushdb()
