"""Submission: idempotency keys, retries, and a queue that is full or does not answer."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest
import redis
from flask.testing import FlaskClient

from api.app import create_app
from archetype.client import Client
from archetype.contract.job import Job, State, now
from archetype.contract.parameters.types import dump_with_old_names
from archetype.contract.problem import ProblemDocument
from deploy.local import Stack
from shared.errors import MEDIA_TYPE
from shared.state.job_ids import created_at
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from shared.validation.request import parse_request
from tests.support.api_requests import LONG, OTHER_LANE, QUICK, Submit
from tests.support.clock import set_wrong

GREY = {"method": "class_model", "model": "grey", "targets": ["one"], "params": {"steps": 4}}
NEWER_GREY = """
[[model]]
name = "grey"
release = "2"
architecture = "factory:small"
arguments = { channels = 1 }
classes = ["four", "five", "six"]
preprocessing = { size = [28, 28], mean = [0.5], std = [0.25] }
"""


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
        ended = client.wait(job_id, timeout=400)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)


def test_an_idempotency_key_returns_its_job_after_redis_has_lost_both(
    stack: Stack, submit: Submit, client: Client
) -> None:

    first = submit(QUICK, Idempotency_Key="remembered").json()["id"]
    client.wait(first, timeout=400)
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


@pytest.fixture
def after_release(stack: Stack, tmp_path: Path) -> FlaskClient:
    """A client of the API as it answers after `grey` has got a newer release, with other classes."""
    older = stack.settings.catalogue
    assert older is not None
    newer = tmp_path / "models.toml"
    newer.write_text(older.read_text() + NEWER_GREY)
    return create_app(stack.settings.model_copy(update={"catalogue": newer})).test_client()


@pytest.mark.parametrize("lost", [(), ("archetype:idempotency:default:{key}",)], ids=["redis", "store"])
def test_an_idempotency_key_returns_its_job_after_a_newer_release(
    stack: Stack, submit: Submit, after_release: FlaskClient, lost: tuple[str, ...]
) -> None:
    key = f"release-{time.time()}"
    first = submit(GREY, Idempotency_Key=key).json()["id"]
    for name in lost:
        assert redis.Redis.from_url(stack.settings.redis_url).delete(name.format(key=key))
    again = after_release.post("/v1/jobs", json=GREY, headers={"Idempotency-Key": key})
    assert (again.status_code, again.get_json()["id"]) == (202, first)
    reordered = dict(reversed(GREY.items()))
    again = after_release.post("/v1/jobs", json=reordered, headers={"Idempotency-Key": key})
    assert (again.status_code, again.get_json()["id"]) == (202, first)
    other = after_release.post("/v1/jobs", json=GREY | {"targets": ["four"]}, headers={"Idempotency-Key": key})
    assert (other.status_code, other.get_json()["type"]) == (422, "/problems/idempotency-conflict")


def test_a_submission_that_was_refused_for_a_while_keeps_its_idempotency_key_after_a_newer_release(
    stack: Stack, submit: Submit, after_release: FlaskClient
) -> None:
    key = {"Idempotency-Key": f"refused-{time.time()}"}
    body = GREY | {"targets": [0]}
    full = create_app(stack.settings.model_copy(update={"max_queued_jobs": 0})).test_client()
    assert full.post("/v1/jobs", json=body, headers=key).status_code == 429
    accepted = after_release.post("/v1/jobs", json=body, headers=key)
    assert accepted.status_code == 202, accepted.get_json()
    assert submit(body, Idempotency_Key=key["Idempotency-Key"]).json()["id"] == accepted.get_json()["id"]


def test_an_idempotency_key_that_an_earlier_version_bound_returns_its_job(stack: Stack, submit: Submit) -> None:
    """Earlier versions compare the text in Redis, and store the same text."""
    key, store = f"earlier-{time.time()}", JobStore(Bucket(stack.settings))
    first = submit(QUICK, Idempotency_Key=key).json()["id"]
    bound = redis.Redis.from_url(stack.settings.redis_url).get(f"archetype:idempotency:default:{key}")
    request = parse_request(QUICK | {"model": "shapes@1"})
    assert bound.decode() == f"{first} {sha256(dump_with_old_names(request)).hexdigest()}"
    store.save_idempotency_key("default", key, bound.decode())
    assert submit(QUICK, Idempotency_Key=key).json()["id"] == first
    assert submit(QUICK | {"targets": ["bee"]}, Idempotency_Key=key).status_code == 422


@pytest.mark.parametrize("change", [timedelta(days=1), -timedelta(days=1)], ids=["ahead", "behind"])
def test_a_job_that_an_api_whose_clock_is_wrong_accepts_has_its_whole_time(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, change: timedelta
) -> None:
    began, app = now(), create_app(stack.settings)
    set_wrong(monkeypatch, change)
    job = Job.model_validate(app.test_client().post("/v1/jobs", json=QUICK).get_json())
    assert abs(job.created_at - began) < timedelta(hours=1)
    assert abs(created_at(job.id) - began) < timedelta(hours=1)
    assert job.deadline == job.created_at + timedelta(seconds=stack.settings.deadline_seconds)


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
    failed = client.wait(submit(failing | {"tags": ["letters"]}).json()["id"], timeout=400)
    assert failed.state is State.FAILED
    (listed,) = http.get("/v1/jobs", params={"state": "failed", "tag": "letters"}).json()["items"]
    assert listed["error"] == failed.error.model_dump(mode="json")
    again = http.post(f"/v1/jobs/{failed.id}/retry", headers={"Idempotency-Key": f"retry-{failed.id}"})
    assert again.status_code == 202
    fresh = Job.model_validate(again.json())
    assert (fresh.retry_of, fresh.tags, fresh.id != failed.id) == (failed.id, ["letters"], True)
    repeated = http.post(f"/v1/jobs/{failed.id}/retry", headers={"Idempotency-Key": f"retry-{failed.id}"})
    assert repeated.json()["id"] == fresh.id
    ended = client.wait(fresh.id, timeout=400)
    assert ended.error == failed.error
    assert client.job(failed.id) == failed  # it stays as it ended


def test_a_succeeded_job_cannot_be_retried(http: httpx2.Client, submit: Submit, client: Client) -> None:
    done = client.wait(submit(QUICK).json()["id"], timeout=400)
    assert http.post(f"/v1/jobs/{done.id}/retry").status_code == 409
