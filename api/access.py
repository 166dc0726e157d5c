"""Who asks, and whether they may: decided once per request, before its view is called."""

import hmac
import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request
from pydantic import SecretStr

from api.identity import read_identity
from api.services import Services, services
from shared.access import Caller, Scope
from shared.errors import FieldError, Forbidden, Unauthorized

EVERYTHING = frozenset(Scope)
COOKIE = "archetype_key"

V = TypeVar("V", bound=Callable[..., Any])


def needs(scope: Scope) -> Callable[[V], V]:
    """Says what a key must be good for to reach a view; one that says nothing is for everybody."""

    def attach(view: V) -> V:
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return attach


def guard(app: Flask) -> None:
    """Lets nobody pass to a view whose scope they do not have."""

    @app.before_request
    def admit() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        scope = getattr(view, "scope", None)
        if scope is not None:
            g.caller = admit_caller(scope, services())


def caller() -> Caller:
    """Who asks."""
    return cast("Caller", g.caller)


def admit_caller(scope: Scope, here: Services) -> Caller:
    """Who asks, if they may.

    Raises:
        Unauthorized: Nobody known asks.
        Forbidden: They may not do this.
    """
    found = find_caller(here)
    if found is None:
        field = FieldError(field="Authorization", detail="missing or not good", allowed="Bearer and a key")
        raise Unauthorized("send Authorization: Bearer and a key that has not ended", field)
    if scope not in found.scopes:
        if found.key is None:
            raise Unauthorized(
                f"this call needs a key with the scope {scope!r}; send Authorization: Bearer and the key"
            )
        allowed = ", ".join(sorted(found.scopes))
        raise Forbidden(f"this call needs the scope {scope!r}; this key has {allowed}")
    return found


def check_root() -> None:
    """Raises `Forbidden` unless whoever runs the service asks."""
    if not caller().root:
        raise Forbidden("keys are looked after by whoever runs the service, with ARCHETYPE_OPERATOR_TOKEN")


def find_caller(here: Services) -> Caller | None:
    """Who asks, by what they sent; None if it is not good, or nothing and something is needed."""
    token = read_token()
    if token is None:
        return Caller() if here.settings.keyless_loopback and is_local() else None
    return find_owner(token, here)


def find_owner(token: str, here: Services) -> Caller | None:
    """Who sends this: whoever runs the service, a key's owner, or somebody whom the identity provider vouches for."""
    if _is_operators(token, here.settings.operator_token):
        return Caller(scopes=EVERYTHING, key="operator", root=True)
    key = here.keyring.find(token)
    if key is not None:
        return Caller(tenant=key.tenant, scopes=frozenset(key.scopes), limits=key.limits, key=key.id)
    return read_identity(token, here.issuer) if here.issuer is not None else None


def read_token() -> str | None:
    """What was sent to be let in: in the header, or by the page in its cookie; None if nothing was."""
    header = request.headers.get("Authorization")
    if header is None:
        return request.cookies.get(COOKIE) if is_same_site() else None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_same_site() -> bool:
    """Whether no other site made the browser send this."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def is_local() -> bool:
    """Whether the request comes from this machine to a port that only this machine can reach, and from no other site.

    A page of another site can make a browser on this machine send requests here: those name their origin, or, where
    a name was made to point at this machine, the wrong host.
    """
    host = urlsplit(f"//{request.host}").hostname or ""
    return (
        _is_loopback(request.remote_addr or "")
        and _is_loopback(request.environ.get("SERVER_NAME", ""))
        and _is_loopback(host)
        and is_same_site()
    )


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_operators(token: str, expected: SecretStr | None) -> bool:
    return expected is not None and hmac.compare_digest(token.encode(), expected.get_secret_value().strip().encode())
