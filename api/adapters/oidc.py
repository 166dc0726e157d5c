"""Accepts tokens of an OIDC issuer as an alternative to keys."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeGuard

import jwt
import structlog
from pydantic import TypeAdapter, ValidationError

from api.adapters.oidc_http import EXCHANGE_SECONDS, ProviderFailed, fetch_json
from api.adapters.oidc_keys import KeySet, ProviderKeys
from archetype.contract.api_key import Scope, Tenant
from archetype.contract.problem import FieldError, shorten
from shared.errors import Forbidden, Unauthorized
from shared.settings import Settings
from shared.storage.api_keys import OIDC_PREFIX, Caller

log = structlog.get_logger()

LEEWAY_SECONDS = 30
"""Difference that is allowed between the clocks of the issuer and of the service."""

SCOPE_PREFIX = "archetype:"
"""Optional prefix of scope names, for an issuer whose tokens carry scopes of several services."""

MAX_KEYS = 20
"""Keys of the provider that are tried for a token that does not name its key."""

KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
"""Type of the key (`kty`) by the first two letters of the algorithm."""

LATEST_EXPIRY = 32_503_680_000
"""The year 3000. A later expiry, which may not be a date that Python knows, counts as this one."""

SUBJECT = re.compile(r"[\x20-\x7e]{1,255}")
TENANT: TypeAdapter[str] = TypeAdapter(Tenant)


class TokenRefused(Exception):
    """A token is not valid. The message is the reason."""


class UnknownKey(Exception):
    """None of the keys fits a token; the provider may have newer ones."""


class OIDCVerifier:
    """Verifies tokens of one issuer.

    Attributes:
        issuer: URL of the issuer, as in the tokens' claim `iss`.
        settings: The settings, which name audience, algorithms and claims.
        keys: The issuer's public keys.
    """

    def __init__(self, issuer: str, settings: Settings, keys: ProviderKeys | None = None) -> None:
        self.issuer = issuer
        self.settings = settings
        self.keys = keys or ProviderKeys(partial(load_keys, issuer, settings))

    def verify(self, token: str) -> dict[str, Any]:
        """Returns the claims of a token after checking its signature, issuer, audience and expiry.

        Raises:
            TokenRefused: The token is not valid.
            Unavailable: The issuer does not answer, or its answer cannot be used.
        """
        header, claims = read_unverified(token)
        if header.get("alg") not in self.settings.oidc_algorithms:
            raise TokenRefused(f"its algorithm {_show(header.get('alg'))} is not one of oidc_algorithms")
        if not self.is_issuer(claims.get("iss")):
            raise TokenRefused(f"its issuer {_show(claims.get('iss'))} is not {self.issuer!r}")
        keys = self.keys.current()
        try:
            return self._verify_with(keys, token, header)
        except UnknownKey as error:
            renewed = self.keys.refreshed()
            if renewed is keys:
                raise TokenRefused(str(error)) from error
        try:
            return self._verify_with(renewed, token, header)
        except UnknownKey as error:
            raise TokenRefused(str(error)) from error

    def is_issuer(self, claim: object) -> bool:
        """Whether a claim `iss` names the issuer. A slash at the end makes no difference."""
        return isinstance(claim, str) and claim.rstrip("/") == self.issuer.rstrip("/")

    def allows(self, tenant: str) -> bool:
        """Whether tokens can name a tenant."""
        allowed = self.settings.oidc_tenants
        return not allowed or tenant in allowed

    def _verify_with(self, keys: KeySet, token: str, header: dict[str, Any]) -> dict[str, Any]:
        for key in select_keys(keys, header):
            try:
                return self._decode(token, key, header["alg"])
            except jwt.InvalidSignatureError:
                continue
        name = header.get("kid")
        if name is not None and any(key.get("kid") == name for key in keys):
            raise TokenRefused(f"its signature is not that of the key {_show(name)}")
        raise UnknownKey(f"the issuer has no key with the id {_show(name)} that has signed it")

    def _decode(self, token: str, key: dict[str, Any], algorithm: str) -> dict[str, Any]:
        """Returns the claims of a token that a key has signed. Every other error than a wrong signature refuses it."""
        try:
            claims = jwt.decode(
                token,
                jwt.PyJWK(key, algorithm=algorithm).key,
                algorithms=[algorithm],
                audience=self.settings.oidc_audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"], "verify_iss": False},  # `verify` has checked it
            )
        except jwt.InvalidSignatureError:
            raise
        except Exception as error:  # whatever a library raises for a token or a key: it is not accepted
            raise TokenRefused(f"{type(error).__name__}: {shorten(str(error))}") from error
        if not SUBJECT.fullmatch(claims["sub"]):
            raise TokenRefused("its subject is not 1 to 255 printable ASCII characters")
        return dict(claims)


def load_keys(issuer: str, settings: Settings) -> KeySet:
    """Returns the public keys of an issuer. Raises `ProviderFailed`."""
    end = time.monotonic() + EXCHANGE_SECONDS

    def fetch(url: str) -> dict[str, Any]:
        return fetch_json(url, ca_bundle=settings.ca_bundle, seconds=max(0.0, end - time.monotonic()))

    url = settings.oidc_jwks
    if url is None:
        discovery = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        url = fetch(discovery).get("jwks_uri")
        schemes = ("https://",) if discovery.startswith("https://") else ("http://", "https://")
        if not isinstance(url, str) or not url.startswith(schemes):
            raise ProviderFailed(f"{discovery} has no {' or '.join(schemes)} URL in jwks_uri, but {_show(url)}")
    keys = fetch(url).get("keys")
    usable = [key for key in keys if isinstance(key, dict) and "kty" in key] if isinstance(keys, list) else []
    if not usable:
        raise ProviderFailed(f"{url} has no keys; `keys` is {_show(keys)}")
    return usable


def select_keys(keys: KeySet, header: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the keys that can have signed a token with this header.

    Keys without `kid`, `alg` or `use` fit every value of it. A token without `kid` may be signed by any key.
    """
    name, algorithm = header.get("kid"), header["alg"]
    named = [key for key in keys if name is None or key.get("kid") == name]
    candidates = named or [key for key in keys if key.get("kid") is None]
    return [
        key
        for key in candidates
        if key.get("kty") == KEY_TYPES.get(algorithm[:2])
        and key.get("alg") in (None, algorithm)
        and key.get("use") in (None, "sig")
    ][:MAX_KEYS]


def read_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the header and the claims of a token without checking it. Raises `TokenRefused`."""
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
        header, claims = dict(parts["header"]), dict(parts["payload"])
    except Exception as error:  # whatever a library raises for a text from outside: it is not a token
        raise TokenRefused("it is neither a key nor a token of the identity provider") from error
    return header, claims


def identify_token_owner(token: str, oidc: OIDCVerifier) -> Caller:
    """Returns the caller that a token names. Each refused token is logged once.

    Raises:
        Unauthorized: The token is not valid.
        Forbidden: The token is valid, but it names no tenant of this service.
        Unavailable: The issuer does not answer, or its answer cannot be used.
    """
    try:
        claims = oidc.verify(token)
    except TokenRefused as error:
        log_refusal(token, str(error))
        field = FieldError(field="Authorization", detail=str(error), allowed="a valid key or token")
        raise Unauthorized(f"the token is not accepted: {error}; sign in again, or send a key", field) from error
    return Caller(
        tenant=_choose_tenant(claims, token, oidc),
        scopes=frozenset(_read_scopes(claims.get(oidc.settings.oidc_scope_claim, ""))),
        limits=oidc.settings.tenant_limits,
        key=f"{OIDC_PREFIX}{claims['sub']}",
        expires_at=datetime.fromtimestamp(min(int(claims["exp"]), LATEST_EXPIRY), UTC),
    )


def log_refusal(token: str, reason: str) -> None:
    """Logs why a token is refused, with the issuer and the subject that it names."""
    try:
        _, claims = read_unverified(token)
    except TokenRefused:
        claims = {}
    names = {"issuer": claims.get("iss"), "subject": claims.get("sub")}
    log.warning("token.refused", reason=reason, **{name: _show(value) for name, value in names.items()})


def _choose_tenant(claims: dict[str, Any], token: str, oidc: OIDCVerifier) -> str:
    """Returns the tenant of a token: the claim, or the first tenant in it if it is a list. Raises `Forbidden`."""
    name = oidc.settings.oidc_tenant_claim
    claim = claims.get(name)
    for tenant in claim if isinstance(claim, list) else [claim]:
        if is_tenant_name(tenant) and oidc.allows(tenant):
            return tenant
    reason = f"its claim {name!r} is {_show(claim)}, which names no tenant of this service"
    log_refusal(token, reason)
    field = FieldError(field="Authorization", detail="unknown tenant", given=shorten(claim))
    raise Forbidden(f"the token is valid, but {reason}; ask the operator for access", field)


def is_tenant_name(name: object) -> TypeGuard[str]:
    """Whether this can be the name of a tenant."""
    try:
        return bool(TENANT.validate_python(name, strict=True))
    except ValidationError:
        return False


def _read_scopes(claim: object) -> Iterator[Scope]:
    """Yields the scopes of a claim, which is a list or a string of names. Names of other services are ignored."""
    names = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    scopes = {scope.value: scope for scope in Scope}
    for item in names:
        name = str(item).removeprefix(SCOPE_PREFIX)
        if name in scopes:
            yield scopes[name]


def _show(value: object) -> str:
    """Returns a value of a token or of the provider for messages: short, and without control characters."""
    return str(shorten(repr(value)))
