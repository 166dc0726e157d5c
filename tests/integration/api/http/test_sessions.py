"""Sessions of the web page: where they are stored, what ends them, and what other sites cannot do with them."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from api.adapters.sessions import MAX_SESSIONS, Sessions
from api.app import create_app
from archetype.client import Client
from archetype.contract.api_key import Scope
from archetype.contract.job import now
from deploy.local import Stack
from shared.state.redis_client import RedisClient
from shared.storage.api_keys import Caller
from tests.support.callers import issue_token
from tests.support.clock import set_wrong
from tests.support.identity_provider import IdentityProvider, run_identity_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with run_identity_provider() as running:
        yield running


Browser = Callable[..., FlaskClient]


@pytest.fixture(scope="module")
def app(stack: Stack, provider: IdentityProvider) -> Flask:
    return create_app(stack.settings.model_copy(update={"keyless_loopback": False, "oidc_issuer": provider.url}))


@pytest.fixture
def key(operator: Client) -> str:
    return issue_token(operator, "vision", scopes=[Scope.READ, Scope.SUBMIT])


def sign_in(app: Flask, key: str, **options: Any) -> FlaskClient:
    http = app.test_client()
    assert http.post("/enter", data={"key": key}, **options).status_code == 303
    return http


def is_signed_in(http: FlaskClient) -> bool:
    page, call = http.get("/jobs"), http.get("/v1/jobs")
    assert (page.status_code, call.status_code) in [(200, 200), (302, 401)]
    return page.status_code == 200


def read_cookie(response: Any, name: str) -> "Morsel[str]":
    cookies = SimpleCookie()
    for header in response.headers.getlist("Set-Cookie"):
        cookies.load(header)
    return cookies[name]


def test_the_cookie_is_a_random_id_and_neither_the_key_nor_the_id_is_stored(
    app: Flask, stack: Stack, key: str, provider: IdentityProvider
) -> None:
    assert stack.settings.operator_token is not None
    secrets = [key, provider.sign(), stack.settings.operator_token.get_secret_value()]
    ids = []
    for secret in secrets:
        cookie = read_cookie(app.test_client().post("/enter", data={"key": secret}), "archetype_session")
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", cookie.value)
        assert (cookie["httponly"], cookie["samesite"], cookie["secure"], cookie["path"]) == (True, "Strict", "", "/")
        assert 0 < int(cookie["max-age"]) <= stack.settings.session_seconds
        ids.append(cookie.value)
    with RedisClient(stack.settings).connection() as redis:
        names = redis.keys("archetype:session*")
        stored = [
            name + str(redis.get(name) if redis.type(name) == "string" else redis.zrange(name, 0, -1)) for name in names
        ]
        assert all(redis.ttl(name) > 0 for name in names)
    assert len(stored) >= len(ids)
    secret_parts = [*(secret.rpartition("_")[2] for secret in secrets), *ids]  # an id may end with an underscore
    for text in stored:
        assert not any(part in text for part in secret_parts)


def test_behind_tls_the_cookie_is_sent_over_tls_alone(stack: Stack, key: str) -> None:
    app = create_app(stack.settings.model_copy(update={"trusted_proxies": 1}))
    secure = {"headers": {"X-Forwarded-Proto": "https"}}
    http = app.test_client()
    cookie = read_cookie(http.post("/enter", data={"key": key}, **secure), "__Host-archetype_session")
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")
    http.set_cookie("__Host-archetype_session", cookie.value)
    assert http.get("/v1/jobs", **secure).status_code == 200
    planted = app.test_client()
    planted.set_cookie("archetype_session", cookie.value)  # as a page without TLS could set it
    assert planted.get("/v1/jobs", **secure).status_code == 401


def test_a_key_in_the_cookie_of_an_earlier_version_is_not_accepted_and_deleted(app: Flask, key: str) -> None:
    http = app.test_client()
    http.set_cookie("archetype_key", key)
    assert not is_signed_in(http)
    http.get("/jobs")
    assert http.get_cookie("archetype_key") is None
    http.set_cookie("archetype_session", key)
    assert not is_signed_in(http)


def test_every_sign_in_has_a_new_id_and_ends_the_session_before(app: Flask, key: str) -> None:
    http = sign_in(app, key)
    first = http.get_cookie("archetype_session")
    http.post("/enter", data={"key": key})
    second = http.get_cookie("archetype_session")
    assert first is not None
    assert second is not None
    assert first.value != second.value
    thief = app.test_client()
    thief.set_cookie("archetype_session", first.value)
    assert not is_signed_in(thief)
    planted = app.test_client()
    planted.set_cookie("archetype_session", "A" * 43)
    planted.post("/enter", data={"key": key})
    chosen = planted.get_cookie("archetype_session")
    assert chosen is not None
    assert chosen.value != "A" * 43


def test_a_sign_out_ends_the_session_for_every_copy_of_the_cookie(app: Flask, key: str) -> None:
    http, copy = sign_in(app, key), app.test_client()
    cookie = http.get_cookie("archetype_session")
    assert cookie is not None
    copy.set_cookie("archetype_session", cookie.value)
    assert is_signed_in(copy)
    assert http.post("/leave").status_code == 303
    assert http.get_cookie("archetype_session") is None
    assert not is_signed_in(copy)


def test_all_processes_of_the_api_know_a_session(app: Flask, stack: Stack, key: str) -> None:
    http, other = sign_in(app, key), create_app(stack.settings.model_copy(update={"keyless_loopback": False}))
    cookie = http.get_cookie("archetype_session")
    assert cookie is not None
    elsewhere = other.test_client()
    elsewhere.set_cookie("archetype_session", cookie.value)
    assert is_signed_in(elsewhere)
    elsewhere.post("/leave")
    assert not is_signed_in(http)


def test_a_revoked_or_expired_key_ends_its_sessions(app: Flask, stack: Stack, operator: Client) -> None:
    from archetype.contract.api_key import NewKey

    issued = operator.issue_key(NewKey(tenant="vision"))
    http = sign_in(app, issued.token)
    assert is_signed_in(http)
    app.extensions["archetype"].api_keys.revoke(issued.id)
    assert not is_signed_in(http)
    soon = operator.issue_key(NewKey(tenant="vision", expires_at=now() + timedelta(seconds=6)))
    response = app.test_client().post("/enter", data={"key": soon.token})
    assert int(read_cookie(response, "archetype_session")["max-age"]) <= 6


def test_a_session_ends_with_the_token_of_the_identity_provider(
    app: Flask, stack: Stack, provider: IdentityProvider
) -> None:
    http = sign_in(app, provider.sign({"exp": time.time() + 3600}))
    assert is_signed_in(http)
    response = app.test_client().post("/enter", data={"key": provider.sign({"exp": time.time() + 30})})
    assert int(read_cookie(response, "archetype_session")["max-age"]) <= 30
    cookie = http.get_cookie("archetype_session")
    assert cookie is not None
    for changes in ({"oidc_issuer": None}, {"oidc_issuer": "http://127.0.0.1:1"}, {"oidc_tenants": ["audio"]}):
        settings = {"keyless_loopback": False, "oidc_issuer": provider.url} | changes
        changed = create_app(stack.settings.model_copy(update=settings)).test_client()
        changed.set_cookie("archetype_session", cookie.value)
        assert not is_signed_in(changed)


def test_a_session_keeps_the_scopes_of_the_token(app: Flask, provider: IdentityProvider) -> None:
    http = sign_in(app, provider.sign({"scope": "archetype:read"}))
    assert http.get("/v1/jobs").status_code == 200
    assert http.post("/v1/jobs", json={}).status_code == 403
    assert http.get("/v1/keys").status_code == 403


def test_another_operator_token_ends_the_sessions_of_the_operator(app: Flask, stack: Stack) -> None:
    assert stack.settings.operator_token is not None
    http = sign_in(app, stack.settings.operator_token.get_secret_value())
    assert http.get("/v1/keys").status_code == 200
    cookie = http.get_cookie("archetype_session")
    assert cookie is not None
    for token in (SecretStr("another"), None):
        settings = stack.settings.model_copy(update={"keyless_loopback": False, "operator_token": token})
        changed = create_app(settings).test_client()
        changed.set_cookie("archetype_session", cookie.value)
        assert not is_signed_in(changed)


def test_after_redis_has_lost_its_data_users_sign_in_again(app: Flask, stack: Stack, key: str) -> None:
    http = sign_in(app, key)
    with RedisClient(stack.settings).connection() as redis:
        redis.delete(*redis.keys("archetype:session*"))
    answer = http.get("/jobs?state=failed")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/enter?next=/jobs?state%3Dfailed"
    assert http.get_cookie("archetype_session") is None
    assert (
        http.post("/enter", data={"key": key, "next": "/jobs?state=failed"}).headers["Location"] == "/jobs?state=failed"
    )
    assert is_signed_in(http)


def test_a_session_expires_and_each_user_has_a_limited_number(stack: Stack) -> None:
    moment = 1_800_000_000.0
    sessions = Sessions(RedisClient(stack.settings), clock=lambda: moment)
    user, other = Caller(key="0" * 16), Caller(key="1" * 16)
    kept, _ = sessions.start(other, seconds=100)
    ids = []
    for _ in range(MAX_SESSIONS + 2):
        moment += 1
        ids.append(sessions.start(user, seconds=100)[0])
    assert [sessions.find(session_id) is not None for session_id in ids] == [False, False] + [True] * MAX_SESSIONS
    assert sessions.find(kept) is not None
    moment += 100
    assert sessions.find(ids[-1]) is None


def test_a_session_does_not_end_at_a_machine_whose_clock_is_ahead(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, _ = Sessions(RedisClient(stack.settings)).start(Caller(key="2" * 16), seconds=600)
    set_wrong(monkeypatch, timedelta(days=1))
    assert Sessions(RedisClient(stack.settings)).find(session_id) is not None


@pytest.mark.parametrize(
    "session_id", ["", "a", "A" * 43, "A" * 44, "é" * 43, "*" * 43, "../../x", "A" * 4000, "A" * 42 + "\n"]
)
def test_an_id_that_is_none_is_no_session(app: Flask, session_id: str) -> None:
    http = app.test_client(use_cookies=False)  # the header is sent as it is
    answer = http.get("/v1/jobs", headers={"Cookie": f"archetype_session={session_id.strip()}"})
    assert answer.status_code == 401
    assert app.extensions["archetype"].sessions.find(session_id) is None


# Pages of other sites

CROSS_SITE = [
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.localhost"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_pages_of_other_sites_can_neither_sign_a_user_in_nor_out_nor_act_for_one(
    app: Flask, key: str, headers: dict[str, str]
) -> None:
    stranger = app.test_client()
    assert stranger.post("/enter", data={"key": key}, headers=headers).status_code == 403
    assert stranger.get_cookie("archetype_session") is None
    http = sign_in(app, key)
    job = "01k9v0m2q7gq5n9w3t8yx4r6zs"
    calls = [
        ("POST", "/leave"), ("POST", "/v1/jobs"), ("POST", f"/jobs/{job}/cancel"), ("POST", f"/jobs/{job}/again"),
        ("DELETE", f"/v1/jobs/{job}"), ("POST", "/v1/images"), ("POST", "/v1/webhooks/secret"), ("POST", "/v1/keys"),
    ]  # fmt: skip
    for method, path in calls:
        assert http.open(path, method=method, headers=headers).status_code == 403, path
    assert is_signed_in(http)
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert http.post(f"/jobs/{job}/cancel", headers=own).status_code == 404
    assert http.post("/leave", headers=own).status_code == 303


@pytest.mark.parametrize("path", ["/%09/host", "//host", "/\\host", "https://host/", "/%2f/host", "/enter", "/\t/host"])
def test_a_sign_in_never_leads_to_another_host(app: Flask, key: str, path: str) -> None:
    http = app.test_client()
    assert http.post("/enter", data={"key": key, "next": path}).headers["Location"] == "/"
    page = http.get("/enter", query_string={"next": path}).get_data(as_text=True)
    assert '<input type="hidden" name="next" value="/">' in page


def test_every_page_shows_the_tenant_and_is_not_kept_by_the_browser(app: Flask, key: str) -> None:
    http = sign_in(app, key)
    for path in (
        "/",
        "/new/saliency",
        "/jobs",
        "/jobs/nothing",
        "/compare",
        "/audits",
        "/models",
        "/models/nothing",
        "/enter",
    ):
        answer = http.get(path)
        assert '<strong id="tenant">vision</strong>' in answer.get_data(as_text=True), path
        assert answer.headers["Cache-Control"] == "no-store"
    assert "Not signed in" in app.test_client().get("/enter").get_data(as_text=True)


def test_the_keyless_page_shows_its_tenant(client: Client) -> None:
    assert '<strong id="tenant">default</strong>' in httpx2.get(f"{client._transport.url}/jobs").text


def test_a_large_sign_in_form_is_refused_before_it_is_read(client: Client) -> None:
    for data in ({"key": "a" * 1_900_000}, {"key": "a" * 40_000}, {"key": "x", "next": "/" * 40_000}):
        answer = httpx2.post(f"{client._transport.url}/enter", data=data, timeout=60)
        assert (answer.status_code, "32768" in answer.text) == (413, True)
    many = "&".join(["a=b"] * 8000).encode()
    answer = httpx2.post(
        f"{client._transport.url}/enter",
        content=many,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        timeout=60,
    )
    assert answer.status_code in (401, 413)
    chunked = httpx2.post(f"{client._transport.url}/enter", content=iter([b"key=a"]), timeout=60)
    assert chunked.status_code == 411
