"""Jobs whose records were moved from Redis into the history: the API answers as before, and creates no record again."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from api.dependencies import Services
from archetype.contract.job import Artifact, State, now
from deploy.local import Stack
from shared.lifecycle.finish import to_finished
from shared.lifecycle.move_ended import move_ended
from shared.settings import Settings
from shared.state.idempotency import Binding, digest_body
from shared.state.job_ids import new_job_id
from shared.storage.documents import Manifest
from shared.storage.s3 import Bucket
from tests.support.callers import make_app_client
from tests.support.jobs import make_spec

BODY = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "tags": ["moved"]}


@pytest.fixture
def settings(stack: Stack) -> Iterator[Settings]:
    """Settings with a Redis database and a bucket that no worker reads."""
    url = stack.settings.redis_url.removesuffix("/0") + "/11"
    changed = stack.settings.model_copy(update={"redis_url": url, "s3_bucket": "moved-jobs", "history_seconds": 0})
    bucket = Bucket(changed)
    bucket.create()
    yield changed
    bucket.delete_all(list(bucket.keys("")))
    redis.Redis.from_url(url).flushdb()


@pytest.fixture
def http(stack: Stack, settings: Settings) -> FlaskClient:
    return make_app_client(stack, redis_url=settings.redis_url, s3_bucket=settings.s3_bucket)


@pytest.fixture
def services(http: FlaskClient) -> Services:
    found: Services = http.application.extensions["archetype"]
    return found


@pytest.fixture
def job_id(services: Services) -> str:
    """A job that has succeeded, with one artifact, as a worker leaves it."""
    job_id, spec = new_job_id(), make_spec(tags=["moved"])
    services.storage.save_spec(job_id, spec)
    key = services.storage.save_artifact(job_id, 3, "a.txt", b"data", media_type="text/plain")
    href = f"/v1/jobs/{job_id}/artifacts/a.txt"
    artifact = Artifact(name="a.txt", media_type="text/plain", bytes=4, sha256="0" * 64, href=href)
    ended = {"artifacts": [artifact], "started_at": now(), "metrics": {"score": 1.5}}
    job = to_finished(spec.job(job_id), State.SUCCEEDED).model_copy(update=ended)
    manifest = Manifest(job=job, fence=3, keys={"a.txt": key})
    services.storage.save_manifest(manifest)
    services.storage.close(job_id)
    services.job_index.save_finished(manifest)
    services.job_index.add_stored("default", job.bytes)
    return job_id


def move(services: Services, settings: Settings) -> None:
    assert move_ended(services.storage, services.job_list, settings) == 1
    assert services.job_index.count(State.SUCCEEDED) == 1


def read_all(http: FlaskClient, job_id: str) -> list[Any]:
    """What the API answers about a job."""
    paths = [f"/v1/jobs/{job_id}", "/v1/jobs", "/v1/jobs?tag=moved&state=succeeded", "/v1/jobs?state=failed"]
    files = [http.get(f"/v1/jobs/{job_id}/artifacts/{name}") for name in ("a.txt", "b.txt")]
    return [*(http.get(path).json for path in paths), *((file.status_code, file.data) for file in files)]


def test_a_moved_job_is_answered_as_before_and_gets_no_record(
    http: FlaskClient, services: Services, settings: Settings, job_id: str
) -> None:
    before = read_all(http, job_id)
    assert [before[0]["id"], before[2]["items"][0]["id"], before[4]] == [job_id, job_id, (200, b"data")]
    move(services, settings)
    assert read_all(http, job_id) == before
    assert http.post(f"/v1/jobs/{job_id}/cancel").json == before[0]
    assert job_id in http.get("/jobs?tag=moved").text
    assert services.job_index.find(job_id) is None
    assert services.job_index.unfinished() == []


def test_an_idempotency_key_returns_its_moved_job(
    http: FlaskClient, services: Services, settings: Settings, job_id: str
) -> None:
    services.storage.save_idempotency_key("default", "key", Binding(job_id, "digest", digest_body(BODY)).text)
    move(services, settings)
    answer = http.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "key"})
    assert (answer.status_code, answer.json["id"], answer.json["state"]) == (202, job_id, "succeeded")


@pytest.mark.parametrize("is_interrupted", [False, True], ids=["at once", "after an interrupted deletion"])
def test_a_moved_job_is_deleted_from_lists_and_store(
    http: FlaskClient, services: Services, settings: Settings, job_id: str, is_interrupted: bool
) -> None:
    move(services, settings)
    if is_interrupted:
        services.storage.delete_job(job_id)
        assert http.get("/v1/jobs").json["items"][0]["id"] == job_id
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert http.get("/v1/jobs").json["items"] == []
    assert http.get(f"/v1/jobs/{job_id}").status_code == 404
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 404
    assert services.job_index.usage("default").stored == 0
    assert services.job_index.count(State.SUCCEEDED) == 0
