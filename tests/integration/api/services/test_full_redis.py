"""The API in front of a Redis whose memory is full: results can be read and deleted, and new work is refused."""

from collections.abc import Iterator
from typing import cast

import pytest
import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from archetype.contract.job import State
from deploy.local import Stack
from shared.lifecycle.finish import finish_job, to_finished
from shared.queue.claims import Claims
from shared.settings import Settings
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox
from shared.storage.s3 import Bucket
from tests.support.api_requests import QUICK
from tests.support.callers import make_app_client
from tests.support.redis_servers import filled, run_redis
from tests.support.waiting import wait_until


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_redis(tmp_path_factory.mktemp("redis")) as (address, _):
        yield address


def end_job(settings: Settings, job_id: str) -> None:
    """Ends the only queued job as a worker does."""
    redis_client, bucket = RedisClient(settings), Bucket(settings)
    claims, storage = Claims(redis_client), JobStore(bucket)
    job, claim = JobIndex(redis_client).find(job_id), claims.claim("a worker")
    assert job is not None
    assert claim is not None
    finish_job(claims, storage, Outbox(redis_client, bucket), claim, to_finished(job, State.SUCCEEDED))


def submit(http: FlaskClient, key: str) -> TestResponse:
    return http.post("/v1/jobs", json=QUICK, headers={"Idempotency-Key": key})


def check_refusal(response: TestResponse) -> None:
    problem = cast("dict[str, str]", response.json)
    assert (response.status_code, problem["type"]) == (503, "/problems/memory-full")
    assert int(response.headers["Retry-After"]) > 0
    assert "delete jobs" in problem["detail"]
    assert "raise maxmemory" in problem["detail"]


PLAN = {
    "name": "full",
    "classes": ["lemon", "bee"],
    "seeds": [1, 2],
    "noise_seeds": [3, 4],
    "probes": [],
    "baselines": [],
}


def test_a_full_redis_refuses_new_work_but_not_reading_and_deleting(stack: Stack, url: str) -> None:
    settings, http = stack.settings.model_copy(update={"redis_url": url}), make_app_client(stack, redis_url=url)
    job_id = submit(http, "before").json["id"]
    end_job(settings, job_id)
    with filled(url):
        http = make_app_client(stack, redis_url=url)  # which has not yet read how much memory is used
        check_refusal(submit(http, "new"))
        check_refusal(http.post("/v1/jobs", json=QUICK))
        check_refusal(http.post("/v1/audits", json={"model": "shapes", "plan": PLAN}))
        assert submit(http, "before").json["id"] == job_id
        assert http.get(f"/v1/jobs/{job_id}").json["state"] == "succeeded"
        assert http.get("/v1/jobs").json["items"][0]["id"] == job_id  # jobs of other tests are in the store
        assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
        assert http.get(f"/v1/jobs/{job_id}").status_code == 404
    wait_until(lambda: submit(http, "new").status_code == 202, message="new work is refused although there is memory")


def test_new_work_is_refused_above_the_watermark_while_redis_has_memory_left(stack: Stack, url: str) -> None:
    server = redis.Redis.from_url(url)
    server.config_set("maxmemory", 50 * cast("dict[str, int]", server.info("memory"))["used_memory"])
    assert make_app_client(stack, redis_url=url).post("/v1/jobs", json=QUICK).status_code == 202
    check_refusal(make_app_client(stack, redis_url=url, redis_memory_watermark=0.001).post("/v1/jobs", json=QUICK))


def test_a_redis_that_does_not_tell_its_memory_refuses_nothing(stack: Stack, url: str) -> None:
    redis.Redis.from_url(url).execute_command("ACL", "SETUSER", "default", "-info")
    http = make_app_client(stack, redis_url=url, redis_memory_watermark=0.001)
    assert http.post("/v1/jobs", json=QUICK).status_code == 202
