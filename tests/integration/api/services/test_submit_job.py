"""Submission: idempotency keys, retries, and a queue that is full or does not answer."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import redis

from api.app import create_app
from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.problem import ProblemDocument
from deploy.local import Stack
from shared.errors import MEDIA_TYPE
from tests.support.api_requests import LONG, OTHER_LANE, QUICK, Submit


def test_the_same_idempotency_key_and_body_return_the_same_job(submit: Submit) -> None:
    key = f"key-{time.time()}"
    first = submit(QUICK, Idempotency_Key=key, Prefer="wait=50").json()
    assert first["artifacts"]
    assert submit(QUICK, Idempotency_Key=key).json() == first
    other = submit(QUICK | {"targets": ["bee"]}, Idempotency_Key=key)
    assert other.status_code == 422
    assert ProblemDocument.model_validate(other.json()).type.endswith("idempotency-conflict")
    assert submit(QUICK, Idempotency_Key="two words").status_code == 422


def test_concurrent_submissions_with_one_idempotency_key_make_one_job(submit: Submit, client: Client) -> None:
    for round_ in range(5):
        key = f"storm-{time.time()}-{round_}"
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _, key=key: submit(QUICK, Idempotency_Key=key).json(), range(12)))
        (job_id,) = {answer["id"] for answer in answers}
        ended = client.wait(job_id, timeout=60)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)


def test_an_idempotency_key_returns_its_job_after_redis_has_lost_both(
    stack: Stack, submit: Submit, client: Client
) -> None:

    first = submit(QUICK, Idempotency_Key="remembered").json()["id"]
    client.wait(first, timeout=60)
    database = redis.Redis.from_url(stack.settings.redis_url)
    database.delete("archetype:idempotency:remembered", f"archetype:job:{first}")
    again = submit(QUICK, Idempotency_Key="remembered").json()
    assert (again["id"], again["state"]) == (first, "succeeded")
    assert submit(QUICK | {"targets": ["bee"]}, Idempotency_Key="remembered").status_code == 422


def test_an_idempotency_key_completes_a_submission_that_was_stored_but_not_recorded(
    stack: Stack, submit: Submit, client: Client
) -> None:

    job_id = submit(LONG, Idempotency_Key="interrupted").json()["id"]
    database = redis.Redis.from_url(stack.settings.redis_url)
    database.delete(f"archetype:job:{job_id}")
    again = submit(LONG, Idempotency_Key="interrupted")
    assert (again.status_code, again.json()["id"]) == (202, job_id)


def test_a_full_queue_answers_429(stack: Stack, submit: Submit) -> None:

    submit(LONG)  # keeps the worker busy, so that the next one stays queued
    time.sleep(1)
    submit(OTHER_LANE)
    app = create_app(stack.settings.model_copy(update={"max_queued_jobs": 1}))
    again = {"Idempotency-Key": f"full-{time.time()}"}
    accepted = submit(OTHER_LANE, Idempotency_Key=again["Idempotency-Key"]).json()["id"]
    repeated = app.test_client().post("/v1/jobs", json=OTHER_LANE, headers=again)
    assert (repeated.status_code, repeated.get_json()["id"]) == (202, accepted)
    refused = app.test_client().post("/v1/jobs", json=QUICK)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0


def test_a_service_without_redis_answers_503(stack: Stack) -> None:

    app = create_app(stack.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    http = app.test_client()
    refused = http.post("/v1/jobs", json=QUICK)
    assert refused.status_code == 503
    assert refused.content_type == MEDIA_TYPE
    assert "Retry-After" in refused.headers
    assert http.get("/readyz").status_code == 503
    assert http.get("/healthz").status_code == 200


def test_a_failed_job_is_listed_with_its_error_and_can_be_retried(
    http: httpx2.Client, submit: Submit, client: Client
) -> None:
    unit = {"kind": "neuron", "layer": "features.0", "channel": 0, "row": 500}
    failing = {"method": "class_model", "model": "grey", "targets": [0], "params": {"steps": 3, "objective": [unit]}}
    failed = client.wait(submit(failing | {"tags": ["letters"]}).json()["id"], timeout=60)
    assert failed.state is State.FAILED
    (listed,) = http.get("/v1/jobs", params={"state": "failed", "tag": "letters"}).json()["items"]
    assert listed["error"] == failed.error.model_dump(mode="json")
    again = http.post(f"/v1/jobs/{failed.id}/retry", headers={"Idempotency-Key": f"retry-{failed.id}"})
    assert again.status_code == 202
    fresh = Job.model_validate(again.json())
    assert (fresh.retry_of, fresh.tags, fresh.id != failed.id) == (failed.id, ["letters"], True)
    repeated = http.post(f"/v1/jobs/{failed.id}/retry", headers={"Idempotency-Key": f"retry-{failed.id}"})
    assert repeated.json()["id"] == fresh.id
    ended = client.wait(fresh.id, timeout=60)
    assert ended.error == failed.error
    assert client.job(failed.id) == failed  # it stays as it ended


def test_a_succeeded_job_cannot_be_retried(http: httpx2.Client, submit: Submit, client: Client) -> None:
    done = client.wait(submit(QUICK).json()["id"], timeout=60)
    assert http.post(f"/v1/jobs/{done.id}/retry").status_code == 409
