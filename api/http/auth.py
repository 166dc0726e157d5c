"""Authentication and authorization: checked once per request, before its view is called."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g, request

from api.adapters.callers import find_owner
from api.adapters.oidc import log_refusal
from api.dependencies import Services, get_services
from api.http.origin import check_site, is_cross_site, is_local
from api.http.sessions import find_session_caller, read_session_id
from archetype.contract.api_key import Scope
from archetype.contract.problem import FieldError
from shared.errors import Forbidden, HeadTooLarge, Unauthorized
from shared.isolation.places import current_tenant
from shared.storage.api_keys import Caller

MAX_TOKEN_CHARACTERS = 16_000
"""Longest token. The server refuses longer headers before the application sees them."""

V = TypeVar("V", bound=Callable[..., Any])


def needs(scope: Scope) -> Callable[[V], V]:
    """Sets the scope that a view requires. A view without a scope needs no key."""

    def attach(view: V) -> V:
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return attach


def register_auth(app: Flask) -> None:
    """Makes the application call a view only if the caller has its scope, and never for a page of another site."""

    @app.before_request
    def check() -> None:
        check_site()
        current_tenant.set("")
        view = current_app.view_functions.get(request.endpoint or "")
        scope = getattr(view, "scope", None)
        if scope is not None:
            g.caller = authorize(scope, get_services())
            current_tenant.set(g.caller.tenant)


def caller() -> Caller:
    """Returns the caller of the current request."""
    return cast("Caller", g.caller)


def authorize(scope: Scope, services: Services) -> Caller:
    """Returns the caller of the current request if it has a scope.

    Raises:
        Unauthorized: The request has no valid credentials.
        Forbidden: The caller does not have the scope, or its tenant is unknown.
        HeadTooLarge: The token is too long.
        Unavailable: Redis, the store or the identity provider does not answer.
    """
    caller = find_caller(services)
    if caller is None:
        field = FieldError(field="Authorization", detail="missing or not valid", allowed="Bearer and a key")
        raise Unauthorized("send Authorization: Bearer and a key that is valid and has not expired", field)
    if scope not in caller.scopes:
        if caller.key is None:
            raise Unauthorized(
                f"this call requires a key with the scope '{scope}'; send Authorization: Bearer and the key"
            )
        allowed = ", ".join(sorted(caller.scopes))
        raise Forbidden(f"this call requires the scope '{scope}'; this key has {allowed}")
    return caller


def check_operator() -> None:
    """Raises `Forbidden` unless the caller is the operator of the service."""
    if not caller().root:
        raise Forbidden("only the operator of the service manages keys; send the token of ARCHETYPE_OPERATOR_TOKEN")


def find_caller(services: Services) -> Caller | None:
    """Returns the caller by the credentials of the request: a token, a session, or the address of this machine.

    Returns:
        None if the credentials are not valid, or if they are missing and the request needs them.
    """
    token = read_token()
    if token is not None:
        return identify(token, services)
    session_id = read_session_id()
    if session_id is not None:
        return None if is_cross_site() else find_session_caller(session_id, services)
    return Caller() if services.settings.keyless_loopback and is_local(services.settings) else None


def identify(token: str, services: Services) -> Caller | None:
    """Returns the caller that a token belongs to. A token that is refused is logged. Raises as `authorize`."""
    check_token_length(token)
    owner = find_owner(token, services)
    if owner is None:
        log_refusal(token, "it is not a valid key: unknown, revoked or expired")
    return owner


def check_token_length(token: str) -> None:
    """Raises `HeadTooLarge` if a token is longer than the service accepts."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        detail = f"the token has {len(token)} characters; the longest that is accepted has {MAX_TOKEN_CHARACTERS}"
        field = FieldError(
            field="Authorization",
            detail="too long",
            given=len(token),
            allowed=f"up to {MAX_TOKEN_CHARACTERS} characters",
        )
        raise HeadTooLarge(f"{detail}; let the identity provider put fewer claims into it", field)


def read_token() -> str | None:
    """Returns the token of the `Authorization` header; None without the header, empty if it has another scheme."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
