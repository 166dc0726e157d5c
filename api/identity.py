"""Tokens of an OIDC issuer as an alternative to keys: who it is that an identity provider vouches for."""

import threading
from typing import Any

import httpx2
import jwt
from jwt import PyJWKClient
from pydantic import ValidationError

from shared.access import Caller, Scope
from shared.errors import Unavailable
from shared.settings import Settings

ANSWER_SECONDS = 5
LEEWAY_SECONDS = 30
PREFIX = "archetype:"
"""Scopes may be named with it, where an issuer serves others as well."""


class Issuer:
    """An issuer whose tokens are taken. Its keys are fetched when they are needed, and again when they change."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings
        self._lock = threading.Lock()
        self._keys: PyJWKClient | None = None

    def read(self, token: str) -> dict[str, Any]:
        """The claims of a token, checked: signature, issuer, audience, and that it has not ended.

        Raises:
            jwt.InvalidTokenError: It is not good.
            Unavailable: The issuer does not answer.
        """
        try:
            key = self._find_keys().get_signing_key_from_jwt(token)
        except jwt.PyJWKClientConnectionError as error:
            raise Unavailable("the identity provider does not answer; try again, or send a key") from error
        except jwt.PyJWKClientError as error:
            raise jwt.InvalidTokenError(str(error)) from error
        return dict(
            jwt.decode(
                token,
                key,
                algorithms=self.settings.oidc_algorithms,
                audience=self.settings.oidc_audience,
                issuer=self.url,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        )

    def _find_keys(self) -> PyJWKClient:
        with self._lock:
            if self._keys is None:
                self._keys = PyJWKClient(self.settings.oidc_jwks or self._discover(), timeout=ANSWER_SECONDS)
            return self._keys

    def _discover(self) -> str:
        try:
            place = f"{self.url.rstrip('/')}/.well-known/openid-configuration"
            return str(httpx2.get(place, timeout=ANSWER_SECONDS).raise_for_status().json()["jwks_uri"])
        except (httpx2.HTTPError, ValueError, KeyError) as error:
            raise Unavailable("the identity provider cannot be asked for its keys; try again, or send a key") from error


def read_identity(token: str, issuer: Issuer) -> Caller | None:
    """Who an issuer's token says that it is; None if the token is not good or names no tenant or scope of ours."""
    try:
        claims = issuer.read(token)
        return Caller(
            tenant=claims[issuer.settings.oidc_tenant_claim],
            scopes=frozenset(_read_scopes(claims.get(issuer.settings.oidc_scope_claim, ""))),
            key=f"oidc:{claims['sub']}",
        )
    except (jwt.InvalidTokenError, KeyError, ValidationError):
        return None


def _read_scopes(claim: object) -> list[Scope]:
    named = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    known = {scope.value: scope for scope in Scope}
    return [known[name] for each in named if (name := str(each).removeprefix(PREFIX)) in known]
