"""Finds callers: by the token that they send, and by the key that began stored work such as a schedule."""

import hmac
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from pydantic import SecretStr

from api.adapters.oidc import identify_token_owner
from api.dependencies import Services
from archetype.contract.api_key import Limits, Scope
from archetype.contract.job import now
from shared.errors import Unavailable
from shared.storage.api_keys import OIDC_PREFIX, OPERATOR, Caller

ALL_SCOPES = frozenset(Scope)

CHECK_SECONDS = 5.0
"""How often the credentials of a response that lasts are checked."""

V = TypeVar("V")


def find_owner(token: str, services: Services) -> Caller | None:
    """Returns the caller that a token belongs to: the operator, the owner of a key, or a user of the OIDC issuer.

    Returns:
        None if the token is neither that of the operator nor a valid key, and no issuer is configured.

    Raises:
        Unauthorized: The issuer's token is not valid.
        Forbidden: The token is valid, but its tenant is unknown.
        Unavailable: The store or the identity provider does not answer.
    """
    if is_operator_token(token, services.settings.operator_token):
        return Caller(scopes=ALL_SCOPES, key=OPERATOR, root=True)
    key = services.api_keys.find(token)
    if key is not None:
        return key.caller
    return identify_token_owner(token, services.oidc) if services.oidc is not None else None


def find_current_caller(key_id: str | None, tenant: str, services: Services) -> Caller | None:
    """Returns the caller that began stored work, with the scopes and limits that its key has now.

    Call it each time before work is done in the name of a key, for example when a schedule is due.

    Args:
        key_id: `Caller.key` of the caller at the time when the work was stored; None if it was stored without a key.
        tenant: `Caller.tenant` at that time.
        services: The services.

    Returns:
        None if the work must stop: the key was revoked, has expired or belongs to another tenant now, or the operator
        or the identity provider is no longer configured.

    Raises:
        Unavailable: The store does not answer.
    """
    settings = services.settings
    if key_id is None:
        return Caller(tenant=tenant, limits=Limits() if settings.keyless_loopback else settings.tenant_limits)
    if key_id == OPERATOR:
        is_known = settings.operator_token is not None
        return Caller(tenant=tenant, scopes=ALL_SCOPES, key=OPERATOR, root=True) if is_known else None
    if key_id.startswith(OIDC_PREFIX):
        if services.oidc is None or not services.oidc.allows(tenant):
            return None
        return Caller(tenant=tenant, limits=settings.tenant_limits, key=key_id)
    key = services.api_keys.find_valid(key_id)
    return key.caller if key is not None and key.tenant == tenant else None


def is_still_valid(caller: Caller, services: Services) -> bool:
    """Whether the credentials of a caller are still valid, for a response that lasts, such as an event stream."""
    if caller.expires_at is not None and caller.expires_at <= now():
        return False
    return find_current_caller(caller.key, caller.tenant, services) is not None


def while_valid(
    events: Iterable[V], caller: Caller, services: Services, clock: Callable[[], float] = time.monotonic
) -> Iterator[V]:
    """Yields events until the caller's credentials are no longer valid, which is checked every few seconds."""
    checked_at = clock()
    for event in events:
        if clock() - checked_at >= CHECK_SECONDS:
            checked_at = clock()
            with suppress(Unavailable):  # a key cannot be revoked either while the store does not answer
                if not is_still_valid(caller, services):
                    return
        yield event


def is_operator_token(token: str, expected: SecretStr | None) -> bool:
    """Whether this is the operator's token, compared in constant time."""
    if expected is None:
        return False
    return hmac.compare_digest(token.encode(errors="replace"), expected.get_secret_value().strip().encode())
