"""Tokens of an identity provider: what is checked, what is accepted, and what is logged."""

import base64
import json
import math
import time
import warnings
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from api.adapters.oidc import OIDCVerifier, identify_token_owner
from archetype.contract.api_key import Limits, Scope
from shared.errors import Forbidden, Problem, Unauthorized, Unavailable
from shared.settings import TENANT_LIMITS, Settings
from shared.storage.api_keys import Caller
from tests.support.identity_provider import (
    DISCOVERY,
    KEY_ID,
    KEYS,
    IdentityProvider,
    describe_key,
    make_private_key,
    run_identity_provider,
    send,
)

pytestmark = pytest.mark.usefixtures("every_level_logged")

ALL_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@pytest.fixture(scope="module")
def running() -> Iterator[IdentityProvider]:
    with run_identity_provider() as running:
        yield running


@pytest.fixture
def provider(running: IdentityProvider) -> IdentityProvider:
    running.answers.clear()
    running.requests.clear()
    return running


def identify(token: str, provider: IdentityProvider, issuer: str | None = None, **settings: Any) -> Caller:
    issuer = issuer or provider.url
    return identify_token_owner(token, OIDCVerifier(issuer, Settings(oidc_issuer=issuer, **settings)))


def test_a_valid_token_names_tenant_scopes_and_subject_and_has_the_limits_of_tenants(
    provider: IdentityProvider,
) -> None:
    expiry = int(time.time()) + 50
    caller = identify(provider.sign({"exp": expiry}), provider)
    assert (caller.tenant, caller.scopes, caller.key) == ("vision", {Scope.READ}, "oidc:ann")
    assert caller.limits == TENANT_LIMITS
    assert None not in caller.limits.model_dump().values()
    assert caller.expires_at is not None
    assert caller.expires_at.timestamp() == expiry
    assert caller.rate_key == "tenant:vision"  # all users of a tenant share its limit
    limited = identify(provider.sign(), provider, tenant_limits={"running_jobs": 3, "stored_bytes": None})
    assert limited.limits == Limits(**TENANT_LIMITS.model_dump() | {"running_jobs": 3, "stored_bytes": None})


# Valid tokens of providers that differ from each other


@pytest.mark.parametrize("issuer_slash", ["", "/"])
@pytest.mark.parametrize("claim_slash", ["", "/"])
def test_a_slash_at_the_end_of_the_issuer_makes_no_difference(
    provider: IdentityProvider, issuer_slash: str, claim_slash: str
) -> None:
    token = provider.sign({"iss": provider.url + claim_slash})
    assert identify(token, provider, provider.url + issuer_slash).tenant == "vision"


@pytest.mark.parametrize("audience", ["archetype", ["archetype"], ["other", "archetype"]])
def test_the_audience_can_be_a_list(provider: IdentityProvider, audience: Any) -> None:
    assert identify(provider.sign({"aud": audience}), provider).tenant == "vision"


@pytest.mark.parametrize("tenant", [["vision"], ["All Users", "vision"], ["vision", "audio"], [None, 7, {}, "vision"]])
def test_of_a_list_of_tenants_the_first_that_can_be_a_tenant_counts(provider: IdentityProvider, tenant: Any) -> None:
    assert identify(provider.sign({"tenant": tenant}), provider).tenant == "vision"


@pytest.mark.parametrize("kid", [KEY_ID, None])
@pytest.mark.parametrize("members", [{}, {"kid": None}, {"alg": "RS256"}, {"use": None}, {"kid": None, "use": None}])
def test_keys_and_tokens_without_optional_members_fit(
    provider: IdentityProvider, kid: str | None, members: dict[str, Any]
) -> None:
    others = [describe_key(make_private_key(), kid=name) for name in ("two", None)]
    provider.publish(*others, describe_key(provider.private_key, **members))
    assert identify(provider.sign(kid=kid), provider).tenant == "vision"


@pytest.mark.parametrize("algorithm", ALL_ALGORITHMS)
@pytest.mark.parametrize("names_algorithm", [True, False])
def test_every_algorithm_works_with_and_without_an_algorithm_in_the_key(
    provider: IdentityProvider, algorithm: str, names_algorithm: bool
) -> None:
    curve = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}.get(algorithm)
    key: Any = provider.private_key
    document = describe_key(key)
    if curve is not None:
        key = ec.generate_private_key(curve)
        document = dict(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True))
    elif algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
        document = dict(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True))
    document |= {"kid": KEY_ID} | ({"alg": algorithm} if names_algorithm else {})
    provider.publish(document)
    caller = identify(provider.sign(key=key, algorithm=algorithm), provider, oidc_algorithms=ALL_ALGORITHMS)
    assert caller.tenant == "vision"


def test_keys_that_cannot_be_used_do_not_prevent_the_use_of_others(provider: IdentityProvider) -> None:
    unusable: list[Any] = [None, 7, "key", [], {}, {"kty": "new"}, {"kty": "RSA", "kid": "broken", "n": 1}]
    provider.answers[KEYS] = {"keys": [*unusable, describe_key(provider.private_key)]}
    assert identify(provider.sign(), provider).tenant == "vision"


@pytest.mark.parametrize("expiry", [10**12, 10**18, 10**400])
def test_an_expiry_in_the_far_future_is_accepted(provider: IdentityProvider, expiry: int) -> None:
    assert identify(provider.sign({"exp": expiry}), provider).expires_at is not None


# Tokens that are refused


def refuse(token: str, provider: IdentityProvider, **settings: Any) -> tuple[Problem, list[Any]]:
    """Returns the problem and the log entries of a token that is refused."""
    with structlog.testing.capture_logs() as entries, pytest.raises((Unauthorized, Forbidden)) as refused:
        identify(token, provider, **settings)
    return refused.value, [entry for entry in entries if entry["event"] == "token.refused"]


WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "issuer": {"iss": "https://elsewhere.example"},
    "no issuer": {"iss": None},
    "issuer that is a list": {"iss": ["x"]},
    "audience": {"aud": "another service"},
    "audience that is a number": {"aud": 7},
    "audience of nothing": {"aud": []},
    "expired": {"exp": time.time() - 3600},
    "expiry that is no number": {"exp": "soon"},
    "infinite expiry": {"exp": math.inf},
    "no expiry": {"exp": None},
    "not yet valid": {"nbf": time.time() + 3600},
    "subject that is a number": {"sub": 7},
    "no subject": {"sub": None},
    "empty subject": {"sub": ""},
    "very long subject": {"sub": "x" * 5000},
    "subject with line breaks": {"sub": "ann\nroot"},
}


def sign_anything(provider: IdentityProvider, changes: dict[str, Any]) -> str:
    """Signs claims that `jwt.encode` refuses to sign."""
    claims = {"iss": provider.url, "aud": "archetype", "sub": "ann", "tenant": "vision", "exp": time.time() + 60}
    payload = json.dumps(claims | changes).encode()
    return jwt.api_jws.encode(payload, provider.private_key, algorithm="RS256", headers={"kid": KEY_ID})


@pytest.mark.parametrize("kind", WRONG_CLAIMS)
def test_a_token_with_a_wrong_claim_is_refused_and_logged_once(provider: IdentityProvider, kind: str) -> None:
    changes = WRONG_CLAIMS[kind]
    problem, (entry,) = refuse(sign_anything(provider, changes), provider)
    assert problem.status == 401
    assert entry["reason"]
    assert entry["issuer"] == repr(changes.get("iss", provider.url))
    assert entry["subject"].startswith(repr(changes.get("sub", "ann"))[:100])
    assert "\n" not in entry["subject"]
    assert len(str(entry)) < 1000


@pytest.mark.parametrize(
    "tenant", [None, "No Such", "", 7, True, {}, [], ["No Such"], [["vision"]], "../vision", "a" * 41]
)
def test_a_valid_token_without_a_tenant_of_the_service_is_forbidden_and_logged_once(
    provider: IdentityProvider, tenant: Any
) -> None:
    problem, (entry,) = refuse(provider.sign({"tenant": tenant}), provider)
    assert problem.status == 403
    assert "tenant" in problem.detail
    assert "tenant" in entry["reason"]
    assert (entry["issuer"], entry["subject"]) == (repr(provider.url), "'ann'")


def test_a_tenant_that_the_operator_does_not_allow_is_forbidden(provider: IdentityProvider) -> None:
    problem, entries = refuse(provider.sign(), provider, oidc_tenants=["audio"])
    assert (problem.status, len(entries)) == (403, 1)
    assert identify(provider.sign(), provider, oidc_tenants=["audio", "vision"]).tenant == "vision"
    assert identify(provider.sign({"tenant": ["vision", "audio"]}), provider, oidc_tenants=["audio"]).tenant == "audio"


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def test_tokens_of_other_keys_and_other_algorithms_are_refused_and_logged_once(provider: IdentityProvider) -> None:
    other, elliptic = make_private_key(), ec.generate_private_key(ec.SECP256R1())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokens = [
            provider.sign(key=other),
            provider.sign(key=other, kid="unknown"),
            provider.sign(key=other, kid=None),
            provider.sign(key="s" * 64, algorithm="HS256"),
            ".".join([encode(b'{"alg":"none"}'), provider.sign().split(".")[1], ""]),
            provider.sign(algorithm="RS512"),  # not in the setting
            provider.sign(key=elliptic, algorithm="ES256"),
        ]
    for token in tokens:
        problem, (entry,) = refuse(token, provider)
        assert (problem.status, entry["subject"]) == (401, "'ann'")
    wrong_use = describe_key(provider.private_key, use="enc")
    provider.publish(wrong_use)
    assert refuse(provider.sign(), provider)[0].status == 401


HEADER, PAYLOAD = encode(b'{"alg":"RS256"}'), encode(b'{"iss":"x","sub":"y"}')
NO_TOKENS = [
    "", "abc", "a.b.c", "archetype_0123456789abcdef_x", "....", f"{HEADER}.{PAYLOAD}", f"{HEADER}..", "\x00.\x00.\x00",
    "é.é.é", f"{encode(b'[]')}.{PAYLOAD}.x", f"{encode(b'null')}.{PAYLOAD}.x", f"{HEADER}.{encode(b'[]')}.x",
    f"{HEADER}.{encode(b'7')}.x", f"{HEADER}.{encode(b'{')}.x", f"{HEADER}.{PAYLOAD}.*",
    encode(b'{"alg":["RS256"]}') + f".{PAYLOAD}.x", encode(b'{"alg":{}}') + f".{PAYLOAD}.x",
    encode(b'{"alg":"RS256","kid":7}') + f".{PAYLOAD}.x", encode(b'{"alg":"RS256","kid":{}}') + f".{PAYLOAD}.x",
    encode(b'{"alg":"RS256","crit":["b64"],"b64":false}') + f".{PAYLOAD}.x",
    f"{HEADER}.{encode(b'[' * 100_000)}.x", f"{HEADER}.{encode(b'9' * 10_000)}.x",
    f"{HEADER}.{encode(bytes(range(256)))}.x",
]  # fmt: skip


@pytest.mark.parametrize("token", NO_TOKENS, ids=range(len(NO_TOKENS)))
def test_a_text_that_is_no_token_is_refused_without_asking_the_provider(provider: IdentityProvider, token: str) -> None:
    problem, entries = refuse(token, provider)
    assert (problem.status, len(entries)) == (401, 1)
    assert provider.requests == []


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("archetype:read archetype:submit", {Scope.READ, Scope.SUBMIT}),
        ("read", {Scope.READ}),
        (["archetype:operate", "email"], {Scope.OPERATE}),
        ([None, ["read"], {}, "read"], {Scope.READ}),
        ("openid profile", set()),
        ("", set()),
        (None, set()),
        (7, set()),
        ({"read": 1}, set()),
    ],
)
def test_scopes_are_read_from_a_text_or_a_list_and_unknown_ones_ignored(
    provider: IdentityProvider, claim: Any, scopes: set[Scope]
) -> None:
    assert identify(provider.sign({"scope": claim}), provider).scopes == scopes


# Providers that fail

DEEP = b"[" * 100_000
FAILURES: dict[str, tuple[str, Any, str]] = {
    "an error page": (DISCOVERY, send(500, b"<h1>out of\x00\r\norder</h1>"), "answered 500: <h1>out of order</h1>"),
    "a redirect": (DISCOVERY, send(302, b"", Location="https://elsewhere.example"), "answered 302: an empty answer"),
    "no JSON": (DISCOVERY, b"<html>hello</html>", "not with JSON: <html>hello</html>"),
    "no UTF-8": (DISCOVERY, b"\xff\xfe\x00", "not with JSON"),
    "nothing": (DISCOVERY, b"", "not with JSON: an empty answer"),
    "nested JSON": (DISCOVERY, DEEP, "not with JSON"),
    "a list": (DISCOVERY, [], "not with a JSON object"),
    "null": (DISCOVERY, None, "not with a JSON object"),
    "no address of keys": (DISCOVERY, {}, "no http:// or https:// URL in jwks_uri"),
    "an address that is a number": (DISCOVERY, {"jwks_uri": 7}, "no http:// or https:// URL in jwks_uri"),
    "an address of a file": (DISCOVERY, {"jwks_uri": "file:///etc/passwd"}, "no http:// or https:// URL in jwks_uri"),
    "a broken address": (DISCOVERY, {"jwks_uri": "http://[::1"}, "does not answer"),
    "an address without a host": (DISCOVERY, {"jwks_uri": "http://"}, "does not answer"),
    "an address with a wrong port": (DISCOVERY, {"jwks_uri": "http://127.0.0.1:99999/"}, "does not answer"),
    "an address with control characters": (DISCOVERY, {"jwks_uri": "http://a\nb/"}, "does not answer"),
    "a closed port": (DISCOVERY, {"jwks_uri": "http://127.0.0.1:1/"}, "does not answer"),
    "an error instead of keys": (KEYS, send(404, b"gone"), "answered 404: gone"),
    "keys that are missing": (KEYS, {}, "has no keys"),
    "no keys": (KEYS, {"keys": []}, "has no keys"),
    "keys that are a text": (KEYS, {"keys": "all"}, "has no keys"),
    "keys that are null": (KEYS, {"keys": None}, "has no keys"),
    "keys without a type": (KEYS, {"keys": [{}, 1, None]}, "has no keys"),
    "a very large answer": (KEYS, b" " * 3_000_000, "larger than 1000000 bytes"),
    "a wrong length": (KEYS, send(200, b"{", Content_Length="100"), "does not answer"),
    "no HTTP": (KEYS, lambda handler: handler.wfile.write(b"hello\r\n\r\n"), "does not answer"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_provider_that_fails_is_named_as_the_cause_with_its_answer(provider: IdentityProvider, kind: str) -> None:
    path, answer, cause = FAILURES[kind]
    provider.answers[path] = answer
    with structlog.testing.capture_logs() as entries, pytest.raises(Unavailable, match="identity provider") as failed:
        identify(provider.sign(), provider)
    assert cause in failed.value.detail
    assert len(failed.value.detail) < 800
    assert failed.value.retry_after
    assert [entry["event"] for entry in entries] == ["provider.failed"]


def test_a_key_that_names_another_algorithm_family_refuses_tokens_and_does_not_fail(provider: IdentityProvider) -> None:
    provider.publish({"kty": "oct", "k": "c2VjcmV0", "kid": KEY_ID}, {"kty": "RSA", "kid": KEY_ID, "n": "!", "e": []})
    assert refuse(provider.sign(), provider)[0].status == 401
