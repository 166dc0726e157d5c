"""The cookie of signed-in users: a random id without meaning; the session itself is in Redis."""

import hmac

from flask import Response, request

from api.adapters.callers import find_current_caller
from api.adapters.sessions import Session, prove
from api.dependencies import Services
from shared.storage.api_keys import OIDC_PREFIX, Caller

COOKIE = "archetype_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Name of the cookie over TLS: browsers accept this name only from this host itself and over TLS."""

OLD_COOKIE = "archetype_key"
"""Cookie of version 0.3, which contained the key. It is not read, only deleted."""


def read_session_id() -> str | None:
    """Returns the session id that the browser has sent."""
    return request.cookies.get(SECURE_COOKIE if request.is_secure else COOKIE)


def start_session(response: Response, caller: Caller, services: Services) -> None:
    """Starts a session under a new id, and ends the one that the browser had."""
    end_session(response, services)
    is_oidc = (caller.key or "").startswith(OIDC_PREFIX)
    settings = services.settings
    session_id, seconds = services.sessions.start(
        caller,
        seconds=settings.session_seconds,
        issuer=settings.oidc_issuer if is_oidc else None,
        operator_token=settings.operator_token,
    )
    name, secure = (SECURE_COOKIE, True) if request.is_secure else (COOKIE, False)
    response.set_cookie(name, session_id, httponly=True, samesite="Strict", secure=secure, max_age=seconds)


def end_session(response: Response, services: Services) -> None:
    """Ends the session of the browser, and deletes its cookie."""
    session_id = read_session_id()
    if session_id is not None:
        services.sessions.end(session_id)
    forget_session(response)


def forget_session(response: Response) -> None:
    """Deletes the cookies that the browser has sent."""
    for name in (COOKIE, SECURE_COOKIE, OLD_COOKIE):
        if name in request.cookies:
            response.delete_cookie(name, httponly=True, samesite="Strict", secure=name == SECURE_COOKIE)


def find_session_caller(session_id: str, services: Services) -> Caller | None:
    """Returns the user of a session; None if it has ended, or the key or token of the user is no longer valid."""
    session = services.sessions.find(session_id)
    if session is None or not _is_proven(session, session_id, services):
        return None
    current = find_current_caller(session.caller.key, session.caller.tenant, services)
    if current is None or session.issuer is None:
        return current
    # The scopes of a token are those that it had at sign-in; the session ends when the token expires.
    return current.model_copy(update={"scopes": session.caller.scopes, "expires_at": session.caller.expires_at})


def _is_proven(session: Session, session_id: str, services: Services) -> bool:
    """Whether the operator's token and the issuer are still those of the sign-in."""
    if session.issuer is not None and session.issuer != services.settings.oidc_issuer:
        return False
    proof = prove(session_id, services.settings.operator_token)
    return not session.caller.root or hmac.compare_digest(session.proof, proof)
