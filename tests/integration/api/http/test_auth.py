"""Who may call what: scopes, the loopback without a key, tokens of an identity provider, proxies."""

import html
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from flask.testing import FlaskClient

from api.app import create_app
from archetype.client import Client
from archetype.contract.api_key import Scope
from deploy.local import Stack
from tests.support.callers import issue_token, make_app_client
from tests.support.identity_provider import (
    DISCOVERY,
    IdentityProvider,
    drip,
    make_private_key,
    run_identity_provider,
)

SMALL: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 2}}


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [(Scope.READ, {"GET /v1/jobs"}), (Scope.SUBMIT, {"POST /v1/jobs"}), (Scope.OPERATE, {"POST /v1/models"})],
)
def test_a_key_allows_only_the_calls_of_its_scopes(
    stack: Stack, operator: Client, scope: Scope, allowed: set[str]
) -> None:
    headers = {"Authorization": f"Bearer {issue_token(operator, 'narrow', scopes=[scope])}"}
    for call in ("GET /v1/jobs", "POST /v1/jobs", "POST /v1/models"):
        method, _, path = call.partition(" ")
        status = httpx2.request(
            method, stack.url + path, headers=headers, json={} if method == "POST" else None
        ).status_code
        assert (status != 403) == (call in allowed), (call, status)


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
def test_without_a_key_only_requests_of_this_machine_are_accepted(
    stack: Stack, environ: dict[str, str], headers: dict[str, str], status: int
) -> None:
    answer = make_app_client(stack).get("/v1/jobs", environ_overrides=environ, headers=headers)
    assert answer.status_code == status
    assert make_app_client(stack, keyless_loopback=False).get("/v1/jobs").status_code == 401


def test_health_and_reference_need_no_key(stack: Stack) -> None:
    http = make_app_client(stack, keyless_loopback=False)
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert http.get(path).status_code == 200


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with run_identity_provider() as running:
        yield running


def test_a_token_of_the_identity_provider_is_accepted_like_a_key(stack: Stack, provider: IdentityProvider) -> None:
    http = make_app_client(stack, oidc_issuer=provider.url, keyless_loopback=False)

    def call(token: str, method: str = "GET") -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return http.open("/v1/jobs", method=method, json={}, headers=headers).status_code

    assert call(provider.sign()) == 200
    assert call(provider.sign(), method="POST") == 403  # it may read
    assert call(provider.sign(key=make_private_key())) == 401
    assert call(provider.sign(key="s" * 64, algorithm="HS256")) == 401
    for wrong in (
        {"iss": "https://elsewhere.example"},
        {"aud": "others"},
        {"exp": time.time() - 3600},
    ):
        assert call(provider.sign(wrong)) == 401, wrong
    assert call(provider.sign({"tenant": "No Such"})) == 403
    assert call(provider.sign({"tenant": ["vision"], "iss": provider.url + "/"})) == 200


def test_a_token_is_answered_with_503_while_the_identity_provider_is_down(
    stack: Stack, provider: IdentityProvider
) -> None:
    http = make_app_client(stack, oidc_issuer="http://127.0.0.1:1", keyless_loopback=False)
    token = provider.sign({"iss": "http://127.0.0.1:1"})
    answer = http.get("/v1/jobs", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "http://127.0.0.1:1/.well-known/openid-configuration does not answer" in answer.get_json()["detail"]


def test_a_provider_that_returns_nonsense_is_answered_with_503_and_its_answer(
    stack: Stack, provider: IdentityProvider
) -> None:
    provider.answers[DISCOVERY] = b"<html>maintenance</html>"
    http = make_app_client(stack, oidc_issuer=provider.url, keyless_loopback=False)
    try:
        answer = http.get("/v1/jobs", headers={"Authorization": f"Bearer {provider.sign()}"})
        page = http.post("/enter", data={"key": provider.sign()})
    finally:
        provider.answers.clear()
    assert answer.status_code == page.status_code == 503
    assert page.headers["Retry-After"] == "10"
    for text in (answer.get_json()["detail"], html.unescape(page.get_data(as_text=True))):
        assert "answered 200, but not with JSON: <html>maintenance</html>" in text


def test_a_provider_that_hangs_stops_neither_other_callers_nor_the_api(
    stack: Stack, operator: Client, provider: IdentityProvider
) -> None:
    key, end = issue_token(operator, "vision"), threading.Event()
    provider.answers[DISCOVERY] = drip(b"", end=end)
    app = create_app(stack.settings.model_copy(update={"oidc_issuer": provider.url, "keyless_loopback": False}))

    def call(token: str) -> int:
        return app.test_client().get("/v1/jobs", headers={"Authorization": f"Bearer {token}"}).status_code

    try:
        with ThreadPoolExecutor(20) as pool:
            waiting = [pool.submit(call, provider.sign()) for _ in range(20)]
            assert call(key) == 200
            assert {future.result(60) for future in waiting} == {503}
        asked = len(provider.requests)
        assert [call(provider.sign()) for _ in range(20)] == [503] * 20  # the failure is remembered
        assert len(provider.requests) == asked
    finally:
        end.set()
        provider.answers.clear()


@pytest.mark.parametrize("header", ["Bearer " + "a" * 16_001, "Bearer " + "a.b." + "c" * 60_000])
def test_a_token_that_is_too_long_gets_a_problem_document(stack: Stack, header: str) -> None:
    answer = make_app_client(stack).get("/v1/jobs", headers={"Authorization": header})
    assert (answer.status_code, answer.content_type) == (431, "application/problem+json")
    assert "16000" in answer.get_json()["detail"]


def enter(http: FlaskClient, key: str, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post("/enter", data={"key": key, "next": "/jobs"}, headers=named)


def test_the_page_accepts_the_credentials_that_the_api_accepts(
    stack: Stack, operator: Client, provider: IdentityProvider
) -> None:
    assert stack.settings.operator_token is not None
    key = issue_token(operator, "vision")
    for credential in (key, provider.sign(), stack.settings.operator_token.get_secret_value()):
        http = make_app_client(stack, oidc_issuer=provider.url, keyless_loopback=False)
        assert enter(http, "nothing good").status_code == 401
        assert enter(http, credential).status_code == 303
        assert http.get("/jobs").status_code == 200
        http.post("/leave")
        assert http.get("/jobs").status_code == 302


@pytest.mark.parametrize(("proxies", "secure"), [(0, False), (1, True)])
def test_forwarded_headers_count_only_behind_a_trusted_proxy(stack: Stack, proxies: int, secure: bool) -> None:
    assert stack.settings.operator_token is not None
    http = make_app_client(stack, trusted_proxies=proxies)
    forwarded = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "203.0.113.9"}
    answer = enter(http, stack.settings.operator_token.get_secret_value(), **forwarded)
    assert ("Secure" in answer.headers["Set-Cookie"]) is secure


def test_the_running_service_needs_a_key_behind_a_proxy_that_its_settings_do_not_name(stack: Stack) -> None:
    assert httpx2.get(f"{stack.url}/v1/jobs", timeout=60).status_code == 200
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"):
        assert httpx2.get(f"{stack.url}/v1/jobs", headers={name: "127.0.0.1"}, timeout=60).status_code == 401, name
    cross_site = {"Origin": "https://elsewhere.example"}
    assert httpx2.post(f"{stack.url}/v1/jobs", json=SMALL, headers=cross_site, timeout=60).status_code == 403


@pytest.mark.parametrize("proxies", [0, 1])
@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via"])
def test_a_request_that_a_proxy_has_forwarded_needs_a_key(stack: Stack, proxies: int, header: str) -> None:
    http = make_app_client(stack, trusted_proxies=proxies)
    for value in ("127.0.0.1", "203.0.113.9"):
        assert http.get("/v1/jobs", headers={header: value}).status_code == 401
