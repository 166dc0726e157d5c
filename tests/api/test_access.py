"""Keys, scopes and limits: who may do what, against the running stack, and two tenants that try each other's things."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask.testing import FlaskClient
from safetensors.torch import save

from api.app import create_app
from deploy.local import Stack
from shared.access import Limits, NewKey, Scope
from shared.bucket import Bucket
from shared.client import Client, ServiceError
from shared.jobs import State, now
from shared.keyring import Keyring
from shared.methods import ClassModel
from shared.records import Records
from shared.schedules import NewSchedule
from tests.releases import ENTRY, STATE
from tests.tasks import encode, noise

SMALL: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 2}}


@pytest.fixture(scope="module")
def operator(stack: Stack) -> Iterator[Client]:
    """Whoever runs the service."""
    assert stack.settings.operator_token is not None
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as client:
        yield client


def token(operator: Client, tenant: str, **changes: Any) -> str:
    return operator.issue_key(NewKey(tenant=tenant, **changes)).token


@pytest.fixture(scope="module")
def alice(stack: Stack, operator: Client) -> Iterator[Client]:
    with Client(stack.url, key=token(operator, "alice", scopes=list(Scope))) as client:
        yield client


@pytest.fixture(scope="module")
def mallory(stack: Stack, operator: Client) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {token(operator, 'mallory', scopes=list(Scope))}"}
    with httpx2.Client(base_url=stack.url, headers=headers, timeout=30) as http:
        yield http


def make_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.png", encode(noise(8, 8, 3)))
    return file.getvalue()


def test_another_tenants_things_are_not_there(stack: Stack, alice: Client, mallory: httpx2.Client) -> None:
    """Every address that takes an id, with one of another tenant's: the same answer as for one that never was."""
    image = alice.upload(encode(noise(8, 8, 3, seed=77))).id
    archive = httpx2.post(
        f"{stack.url}/v1/archives", files={"file": make_archive()}, headers=dict(alice._http.headers)
    ).json()["id"]
    job = alice.wait(alice.submit(ClassModel.model_validate(SMALL | {"tags": ["alices"]})).id, timeout=60)
    assert job.state is State.SUCCEEDED
    assert job.tenant == "alice"
    never = "0" * 25 + "1"
    looking = {"method": "saliency", "model": "shapes"}
    attacks: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/jobs/{}", {}),
        ("POST", "/v1/jobs/{}/cancel", {}),
        ("POST", "/v1/jobs/{}/retry", {}),
        ("DELETE", "/v1/jobs/{}", {}),
        ("GET", f"/v1/jobs/{{}}/artifacts/{job.artifacts[0].name}", {}),
        ("GET", f"/v1/jobs/{{}}/artifacts/{job.artifacts[0].name}?redirect=1", {}),
    ]
    for method, path, more in attacks:
        answers = [mallory.request(method, path.format(job_id), **more) for job_id in (job.id, never)]
        assert [answer.status_code for answer in answers] == [404, 404], path
        first, second = (
            answer.text.replace(job_id, "ID") for answer, job_id in zip(answers, (job.id, never), strict=True)
        )
        assert first == second
    assert mallory.get(f"/v1/images/{image}").status_code == 404
    assert mallory.post("/v1/jobs", json=looking | {"images": [image]}).status_code == 422
    assert mallory.post("/v1/jobs", json=looking | {"images": {"archive": archive}}).status_code == 422
    assert mallory.post("/v1/jobs", json=SMALL | {"params": {"start_image": image}}).status_code == 422
    for query in ("", "?tag=alices", "?state=succeeded", "?model=shapes"):
        assert job.id not in mallory.get(f"/v1/jobs{query}").text
    assert alice.job(job.id).state is State.SUCCEEDED
    assert alice.fetch(job.artifacts[0])


def test_every_address_that_takes_an_id_hides_what_is_another_tenants(
    stack: Stack, alice: Client, mallory: httpx2.Client
) -> None:
    """Taken from the application's own list of addresses, the page's among them, so that none is forgotten."""
    image = alice.upload(encode(noise(8, 8, 3, seed=78))).id
    job = alice.wait(alice.submit(ClassModel.model_validate(SMALL)).id, timeout=60)
    picture = job.artifacts[0].name
    planned = {"model": "shapes", "plan": {"name": "hers"}, "on_release": False, "cron": "0 0 29 2 *"}
    schedule = alice.schedule(NewSchedule.model_validate(planned)).id
    ids = {"job_id": job.id, "audit_id": job.id, "delivery_id": job.id, "image_id": image, "schedule_id": schedule}
    tried = 0
    for rule in create_app(stack.settings).url_map.iter_rules():
        if not rule.arguments & set(ids):
            continue
        values = ids | {"name": picture, "number": 0}
        _, path = rule.build({part: values[part] for part in rule.arguments})
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            answer = mallory.request(method, path)
            assert answer.status_code == 404, f"{method} {rule.rule}: {answer.status_code}"
            assert picture not in answer.text.replace(path, "")
            tried += 1
    assert tried >= 21
    assert [one.id for one in alice.schedules()] == [schedule]
    assert mallory.get("/v1/schedules").json() == {"items": []}
    alice.delete_schedule(schedule)
    assert alice.job(job.id).state is State.SUCCEEDED


def test_another_tenants_job_is_not_there_after_redis_forgot_it(
    stack: Stack, alice: Client, mallory: httpx2.Client
) -> None:
    job = alice.wait(alice.submit(ClassModel.model_validate(SMALL)).id, timeout=60)
    Records(stack.settings).delete(job)
    assert mallory.get(f"/v1/jobs/{job.id}").status_code == 404
    assert alice.job(job.id).state is State.SUCCEEDED


def test_an_idempotency_key_belongs_to_its_tenant(alice: Client, mallory: httpx2.Client) -> None:
    job = alice.submit(ClassModel.model_validate(SMALL), idempotency_key="the-same")
    other = mallory.post("/v1/jobs", json=SMALL, headers={"Idempotency-Key": "the-same"})
    assert other.status_code == 202
    assert other.json()["id"] != job.id


def test_a_release_is_its_tenants(stack: Stack, alice: Client, mallory: httpx2.Client, operator: Client) -> None:
    headers = dict(alice._http.headers)
    upload = httpx2.post(f"{stack.url}/v1/weights", files={"file": save(STATE)}, headers=headers).json()["id"]
    body = ENTRY | {"name": "alices-own", "upload": upload}
    answer = httpx2.post(f"{stack.url}/v1/models", json=body, headers=headers, timeout=60)
    assert answer.status_code == 201, answer.text
    assert "alices-own" in [model["name"] for model in alice.models()]
    assert "alices-own" not in mallory.get("/v1/models").text
    assert mallory.get("/v1/models/alices-own").status_code == 404
    assert "alices-own" not in mallory.get("/v1/models/alices-ow").json()["detail"].partition("nearest")[2]
    refused = mallory.post("/v1/jobs", json=SMALL | {"model": "alices-own", "targets": [1]})
    assert refused.status_code == 422
    assert "there is no model" in refused.json()["detail"]
    assert mallory.post("/v1/models", json=body | {"upload": upload}).status_code == 409
    job = alice.submit(ClassModel.model_validate(SMALL | {"model": "alices-own", "targets": [1]}))
    assert alice.wait(job.id, timeout=60).state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [(Scope.READ, {"GET /v1/jobs"}), (Scope.SUBMIT, {"POST /v1/jobs"}), (Scope.OPERATE, {"POST /v1/models"})],
)
def test_a_key_is_good_for_its_scopes_alone(stack: Stack, operator: Client, scope: Scope, allowed: set[str]) -> None:
    headers = {"Authorization": f"Bearer {token(operator, 'narrow', scopes=[scope])}"}
    for call in ("GET /v1/jobs", "POST /v1/jobs", "POST /v1/models"):
        method, _, path = call.partition(" ")
        status = httpx2.request(
            method, stack.url + path, headers=headers, json={} if method == "POST" else None
        ).status_code
        assert (status != 403) == (call in allowed), (call, status)


def test_keys_are_for_whoever_runs_the_service(mallory: httpx2.Client) -> None:
    for answer in (
        mallory.get("/v1/keys"), mallory.post("/v1/keys", json={"tenant": "alice"}),
        mallory.delete(f"/v1/keys/{'0' * 16}"),
    ):  # fmt: skip
        assert answer.status_code == 403


def test_a_key_is_stored_without_its_secret(stack: Stack, operator: Client) -> None:
    issued = operator.issue_key(NewKey(tenant="quiet"))
    secret = issued.token.removeprefix(f"archetype_{issued.id}_")
    bucket = Bucket(stack.settings)
    stored = [bucket.get(key).decode() for key in bucket.keys("access/")]
    assert any(issued.id in document for document in stored)
    assert not any(secret in document for document in stored)
    assert secret not in httpx2.get(f"{stack.url}/v1/keys", headers=dict(operator._http.headers)).text


def test_a_revoked_key_is_refused(stack: Stack, operator: Client) -> None:
    issued = operator.issue_key(NewKey(tenant="brief"))
    with Client(stack.url, key=issued.token) as client:
        assert list(client.jobs()) == []
        assert operator.revoke_key(issued.id).revoked_at is not None
        with pytest.raises(ServiceError, match="key"):
            list(client.jobs())
    assert "revoked_at" in operator.list_keys()[-1].model_dump_json()


def test_a_key_that_was_revoked_elsewhere_is_refused_within_seconds(stack: Stack) -> None:
    moment = 0.0
    bucket = Bucket(stack.settings)
    here, elsewhere = Keyring(bucket, clock=lambda: moment), Keyring(bucket)
    key, opens = here.issue(NewKey(tenant="brief"))
    assert here.find(opens) == key
    elsewhere.revoke(key.id)
    assert here.find(opens) == key
    moment = 5.1
    assert here.find(opens) is None


def test_a_key_ends_when_it_says(stack: Stack) -> None:
    keyring = Keyring(Bucket(stack.settings))
    past, future = (now() + timedelta(seconds=seconds) for seconds in (-1, 60))
    assert keyring.find(keyring.issue(NewKey(tenant="t", expires_at=past))[1]) is None
    assert keyring.find(keyring.issue(NewKey(tenant="t", expires_at=future))[1]) is not None


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"), lambda text: text[:-5], str.upper]
)
def test_what_is_nearly_a_key_is_none(stack: Stack, change: Any) -> None:
    keyring = Keyring(Bucket(stack.settings))
    _, opens = keyring.issue(NewKey(tenant="t"))
    assert keyring.find(change(opens)) is None


def limited(stack: Stack, operator: Client, tenant: str, **limits: int) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {token(operator, tenant, limits=Limits(**limits))}"}
    return httpx2.Client(base_url=stack.url, headers=headers, timeout=30)


def check_reached(answer: httpx2.Response, limit: str) -> None:
    assert answer.status_code == 429, answer.text
    assert answer.json()["errors"][0]["field"] == limit
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_submits_a_minute_are_limited_by_key(stack: Stack, operator: Client) -> None:
    with limited(stack, operator, "hasty", submits_per_minute=2) as http:
        assert [http.post("/v1/jobs", json=SMALL).status_code for _ in range(2)] == [202, 202]
        check_reached(http.post("/v1/jobs", json=SMALL), "submits_per_minute")
    with limited(stack, operator, "hasty", submits_per_minute=2) as http:
        assert http.post("/v1/jobs", json=SMALL).status_code == 202


def test_queued_targets_are_limited_and_free_again_when_jobs_have_ended(stack: Stack, operator: Client) -> None:
    with limited(stack, operator, "greedy", queued_targets=3) as http:
        check_reached(http.post("/v1/jobs", json=SMALL | {"targets": [0, 1, 2, 3]}), "queued_targets")
        slow = {"method": "class_model", "model": "slow", "targets": [0, 1], "params": {"steps": 500}}
        job = http.post("/v1/jobs", json=slow).json()
        check_reached(http.post("/v1/jobs", json=slow), "queued_targets")
        http.post(f"/v1/jobs/{job['id']}/cancel")
        limit = time.monotonic() + 20
        while http.get(f"/v1/jobs/{job['id']}").json()["state"] != "cancelled":
            assert time.monotonic() < limit
            time.sleep(0.1)
        assert http.post("/v1/jobs", json=SMALL).status_code == 202


def test_running_jobs_are_limited(stack: Stack, operator: Client) -> None:
    with limited(stack, operator, "busy", running_jobs=1) as http:
        slow = {"method": "class_model", "model": "slow", "targets": [0], "params": {"steps": 500}}
        job = http.post("/v1/jobs", json=slow).json()
        limit = time.monotonic() + 20
        while http.get(f"/v1/jobs/{job['id']}").json()["state"] != "running":
            assert time.monotonic() < limit
            time.sleep(0.1)
        check_reached(http.post("/v1/jobs", json=slow), "running_jobs")
        http.post(f"/v1/jobs/{job['id']}/cancel")


def test_stored_bytes_are_limited_and_the_same_picture_counts_once(stack: Stack, operator: Client) -> None:
    picture = encode(noise(40, 40, 3, seed=5))
    with limited(stack, operator, "hoarder", stored_bytes=len(picture) + 100) as http:
        for _ in range(2):
            assert http.post("/v1/images", files={"file": picture}).status_code == 201
        check_reached(http.post("/v1/images", files={"file": encode(noise(40, 40, 3, seed=6))}), "stored_bytes")


def local(stack: Stack, **changes: Any) -> FlaskClient:
    app: Flask = create_app(stack.settings.model_copy(update=changes))
    return app.test_client()


@pytest.mark.parametrize(
    ("environ", "headers", "status"),
    [
        ({}, {}, 200),
        ({"REMOTE_ADDR": "::1"}, {"Origin": "http://localhost"}, 200),
        ({"REMOTE_ADDR": "10.0.0.7"}, {}, 401),
        ({"SERVER_NAME": "0.0.0.0"}, {}, 401),
        ({}, {"Origin": "https://elsewhere.example"}, 401),
        ({}, {"Host": "points-here.example"}, 401),
    ],
)
def test_without_a_key_only_this_machine_is_heard(
    stack: Stack, environ: dict[str, str], headers: dict[str, str], status: int
) -> None:
    answer = local(stack).get("/v1/jobs", environ_overrides=environ, headers=headers)
    assert answer.status_code == status
    assert local(stack, keyless_loopback=False).get("/v1/jobs").status_code == 401


def test_what_says_how_the_service_is_needs_no_key(stack: Stack) -> None:
    http = local(stack, keyless_loopback=False)
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert http.get(path).status_code == 200


@pytest.fixture(scope="module")
def provider() -> Iterator[tuple[str, rsa.RSAPrivateKey]]:
    """An identity provider: its address and its key."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True) | {"kid": "one", "use": "sig"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"http://127.0.0.1:{server.server_port}"
            found = {"jwks_uri": f"{url}/keys"} if "well-known" in self.path else {"keys": [public]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", private
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def test_an_identity_providers_token_is_as_good_as_a_key(stack: Stack, provider: tuple[str, rsa.RSAPrivateKey]) -> None:
    url, private = provider
    http = local(stack, oidc_issuer=url, keyless_loopback=False)
    good = {
        "iss": url,
        "aud": "archetype",
        "sub": "ann",
        "tenant": "vision",
        "scope": "openid archetype:read",
        "exp": time.time() + 60,
    }

    def ask(changes: dict[str, Any], *, key: Any = private, algorithm: str = "RS256", method: str = "GET") -> int:
        signed = jwt.encode(good | changes, key, algorithm=algorithm, headers={"kid": "one"})
        return http.open("/v1/jobs", method=method, json={}, headers={"Authorization": f"Bearer {signed}"}).status_code

    assert ask({}) == 200
    assert ask({}, method="POST") == 403  # it may read
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert ask({}, key=stranger) == 401
    assert ask({}, key="s" * 64, algorithm="HS256") == 401
    for wrong in (
        {"iss": "https://elsewhere.example"},
        {"aud": "others"},
        {"exp": time.time() - 3600},
        {"tenant": "No Such"},
    ):
        assert ask(wrong) == 401, wrong


def test_where_the_identity_provider_is_down_that_is_said(
    stack: Stack, provider: tuple[str, rsa.RSAPrivateKey]
) -> None:
    http = local(stack, oidc_issuer="http://127.0.0.1:1", keyless_loopback=False)
    signed = jwt.encode({"sub": "ann"}, provider[1], algorithm="RS256", headers={"kid": "one"})
    assert http.get("/v1/jobs", headers={"Authorization": f"Bearer {signed}"}).status_code == 503


def enter(http: FlaskClient, key: str, **headers: str) -> Any:
    return http.post("/enter", data={"key": key, "next": "/jobs"}, headers=headers)


def test_the_page_lets_in_whoever_the_api_lets_in(stack: Stack, operator: Client, provider: Any) -> None:
    url, private = provider
    claims = {"iss": url, "aud": "archetype", "sub": "ann", "tenant": "vision", "scope": "archetype:read"}
    signed = jwt.encode(claims | {"exp": time.time() + 60}, private, algorithm="RS256", headers={"kid": "one"})
    assert stack.settings.operator_token is not None
    key = token(operator, "vision")
    for credential in (key, signed, stack.settings.operator_token.get_secret_value()):
        http = local(stack, oidc_issuer=url, keyless_loopback=False)
        assert enter(http, "nothing good").status_code == 401
        assert enter(http, credential).status_code == 303
        assert http.get("/jobs").status_code == 200
        http.post("/leave")
        assert http.get("/jobs").status_code == 302


@pytest.mark.parametrize(("proxies", "secure"), [(0, False), (1, True)])
def test_what_a_proxy_says_is_believed_where_there_is_one(stack: Stack, proxies: int, secure: bool) -> None:
    assert stack.settings.operator_token is not None
    http = local(stack, proxies=proxies)
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    answer = enter(http, stack.settings.operator_token.get_secret_value(), **forwarded)
    assert ("Secure" in answer.headers["Set-Cookie"]) is secure
    stranger = local(stack, proxies=proxies).get("/v1/jobs", headers=forwarded)
    assert stranger.status_code == (401 if proxies else 200)  # who asks through a proxy is not this machine
