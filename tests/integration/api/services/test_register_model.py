"""Registrations of several tenants: their weights and names are their own, and no one can flood the queue."""

import hashlib
import json
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from archetype.contract.api_key import NewKey, Scope
from archetype.contract.job import now
from deploy.local import Stack
from shared.catalogue.release import Release
from shared.settings import Settings
from shared.storage import layout
from shared.storage.api_keys import ApiKeyStore
from shared.storage.documents import Registration, RegistrationState
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.callers import make_app_client
from tests.support.releases import ENTRY


class Service:
    """The API with a Redis database and a bucket of its own, without a worker."""

    def __init__(self, stack: Stack, **changes: Any) -> None:
        url = stack.settings.redis_url.removesuffix("/0") + "/10"
        own = {"redis_url": url, "s3_bucket": "registration-tests", "weight_prefixes": ["exports/", "own/{tenant}/"]}
        self.settings: Settings = stack.settings.model_copy(update=own | changes)
        self.redis = redis.Redis.from_url(url)
        self.bucket = Bucket(self.settings)
        self.bucket.create()
        self.storage = JobStore(self.bucket)
        self.http: FlaskClient = make_app_client(stack, **(own | changes))
        token = stack.settings.operator_token
        assert token is not None
        self.tokens = {"operator": token.get_secret_value()}
        self.waits = 0

    def clear(self) -> None:
        self.redis.flushdb()
        for key in list(self.bucket.keys("")):
            self.bucket.delete(key)

    def post(self, tenant: str, path: str, **body: Any) -> Any:
        if tenant not in self.tokens:
            keys = ApiKeyStore(self.bucket)
            self.tokens[tenant] = keys.issue(NewKey(tenant=tenant, scopes=list(Scope)))[1]
        headers = {"Authorization": f"Bearer {self.tokens[tenant]}", "Prefer": f"wait={self.waits}"}
        return self.http.post(path, headers=headers, **body)

    def upload(self, tenant: str, data: bytes) -> str:
        answer = self.post(tenant, "/v1/weights", data={"file": (BytesIO(data), "weights")})
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])

    def register(self, tenant: str, name: str = "net", **fields: Any) -> Any:
        return self.post(tenant, "/v1/models", json=ENTRY | {"name": name} | fields)


@pytest.fixture
def service(stack: Stack) -> Iterator[Service]:
    made = Service(stack)
    made.clear()
    yield made
    made.clear()


def test_weights_of_another_tenant_look_like_weights_that_do_not_exist(service: Service) -> None:
    digest = service.upload("alice", b"alices weights")
    unknown = hashlib.sha256(b"weights that do not exist").hexdigest()
    for name in ("mallory", "operator"):
        answers = [service.register(name, upload=each) for each in (digest, unknown)]
        assert [answer.status_code for answer in answers] == [422, 422]
        texts = [answer.text.replace(each, "DIGEST") for answer, each in zip(answers, (digest, unknown), strict=True)]
        assert texts[0] == texts[1]
    assert service.register("alice", upload=digest).status_code == 202


def test_a_tenant_that_has_the_same_file_gets_an_object_of_its_own(service: Service) -> None:
    digest = service.upload("alice", b"public weights")
    assert service.upload("mallory", b"public weights") == digest
    keys = {service.register(tenant, upload=digest).json["entry"]["key"] for tenant in ("alice", "mallory")}
    assert keys == {f"weights/alice/{digest}", f"weights/mallory/{digest}"}
    assert set(service.bucket.keys(layout.WEIGHTS)) == keys


def test_weights_of_an_earlier_version_belong_to_the_tenants_whose_releases_name_them(service: Service) -> None:
    digest = hashlib.sha256(b"old").hexdigest()
    service.bucket.put(layout.uploaded_weights(digest), b"old", media_type="application/octet-stream")
    fields = ENTRY | {"name": "old", "key": f"weights/{digest}", "sha256": digest, "tenant": "alice"}
    old = Registration(entry=Release.model_validate(fields), state=RegistrationState.ACCEPTED)
    service.storage.save_registration(old)
    assert service.register("mallory", upload=digest).status_code == 422
    assert service.register("alice", upload=digest).json["entry"]["key"] == f"weights/{digest}"
    assert service.register("alice", name="old", upload=digest).status_code == 409
    assert service.register("operator", "ours", upload=digest).status_code == 202


def test_a_name_that_another_tenant_has_is_free(service: Service) -> None:
    answers = {}
    for tenant in ("alice", "mallory"):
        digest = service.upload(tenant, tenant.encode())
        answers[tenant] = [service.register(tenant, upload=digest) for _ in range(2)]
    assert {tenant: [answer.status_code for answer in pair] for tenant, pair in answers.items()} == {
        "alice": [202, 409],
        "mallory": [202, 409],
    }
    assert answers["alice"][1].text == answers["mallory"][1].text


def test_a_name_that_the_operator_gave_is_taken_for_all_tenants(service: Service) -> None:
    digest = service.upload("mallory", b"weights")
    assert service.register("mallory", name="shapes", upload=digest).status_code == 409


@pytest.mark.parametrize(
    "key", ["exports/../weights/alice/0", "exports/./../jobs/0", "exports//net", "weights/alice/0", "own/alice/net"]
)
def test_no_key_of_the_store_leads_to_objects_of_others(service: Service, key: str) -> None:
    service.bucket.put("own/alice/net", b"x", media_type="text/plain")
    answer = service.register("mallory", key=key)
    assert answer.status_code == 422
    assert "may not be used" in answer.json["detail"]
    assert service.register("alice", key="own/alice/net").status_code == 202


def test_a_full_queue_of_one_tenant_refuses_its_registrations_and_no_others(stack: Stack, service: Service) -> None:
    small = Service(stack, max_waiting_releases=2)
    digest = small.upload("mallory", b"weights")
    codes = [small.register("mallory", f"net-{number}", upload=digest) for number in range(4)]
    assert [answer.status_code for answer in codes] == [202, 202, 429, 429]
    assert codes[2].headers["Retry-After"]
    assert "2 releases of this tenant wait" in codes[2].json["detail"]
    assert len(list(service.storage.list_registrations())) == 2
    assert small.register("alice", upload=small.upload("alice", b"weights")).status_code == 202


def test_a_tenant_has_a_maximum_number_of_releases(stack: Stack, service: Service) -> None:
    small = Service(stack, max_releases=1)
    digest = small.upload("mallory", b"weights")
    fields = ENTRY | {"name": "first", "tenant": "mallory", "namespace": "mallory"}
    accepted = Registration(entry=Release.model_validate(fields), state=RegistrationState.ACCEPTED, registered_at=now())
    service.storage.save_registration(accepted)
    answer = small.register("mallory", upload=digest)
    assert (answer.status_code, answer.json["type"]) == (429, "/problems/limit-reached")
    assert small.register("alice", upload=small.upload("alice", b"weights")).status_code == 202


def test_uploaded_weights_count_towards_the_limit_of_stored_bytes(service: Service) -> None:
    limited = NewKey(tenant="mallory", scopes=list(Scope), limits={"stored_bytes": 10})  # type: ignore[arg-type]
    service.tokens["mallory"] = ApiKeyStore(service.bucket).issue(limited)[1]
    service.upload("mallory", b"12345678")
    service.upload("mallory", b"12345678")  # the same file counts once
    answer = service.post("mallory", "/v1/weights", data={"file": (BytesIO(b"other"), "weights")})
    assert answer.status_code == 429
    assert json.loads(answer.text)["errors"][0]["field"] == "stored_bytes"


def test_registrations_that_wait_for_their_check_leave_threads_of_the_api_to_others(service: Service) -> None:
    digest = service.upload("mallory", b"weights")
    waiters = service.http.application.extensions["archetype"].waiters
    taken = [waiters.acquire(blocking=False) for _ in range(100)]
    service.waits = 60
    started = time.monotonic()
    assert service.register("mallory", upload=digest).status_code == 202
    assert time.monotonic() - started < 50
    assert taken.count(True) < 10
