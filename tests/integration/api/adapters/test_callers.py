"""Callers of stored work and of responses that last: what they may do now, and when they must stop."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from api.adapters.callers import CHECK_SECONDS, find_current_caller, is_operator_token, while_valid
from api.dependencies import Services, connect
from archetype.contract.api_key import Limits, NewKey, Scope
from archetype.contract.job import now
from deploy.local import Stack
from shared.settings import TENANT_LIMITS, Settings
from shared.storage.api_keys import Caller


@pytest.fixture(scope="module")
def services(stack: Stack) -> Services:
    changes = {
        "operator_token": SecretStr("root"),
        "oidc_issuer": "https://idp.example",
        "oidc_tenants": ["vision"],
        "keyless_loopback": False,
    }
    return connect(stack.settings.model_copy(update=changes))


def test_a_key_has_the_scopes_and_limits_that_it_has_now_until_it_is_revoked(services: Services) -> None:
    limits = Limits(queued_targets=7)
    key, _ = services.api_keys.issue(NewKey(tenant="vision", scopes=[Scope.SUBMIT], limits=limits))
    caller = find_current_caller(key.id, "vision", services)
    assert caller == key.caller
    assert caller.limits == limits
    assert find_current_caller(key.id, "audio", services) is None
    services.api_keys.revoke(key.id)
    assert find_current_caller(key.id, "vision", services) is None


@pytest.mark.parametrize("key_id", ["", "0" * 16, "../../x", "operators", "OIDC:ann", "0" * 15 + "\n"])
def test_a_key_that_does_not_exist_stops_what_it_began(services: Services, key_id: str) -> None:
    assert find_current_caller(key_id, "vision", services) is None


def test_an_expired_key_stops_what_it_began(services: Services) -> None:
    past, _ = services.api_keys.issue(NewKey(tenant="vision", expires_at=now() - timedelta(seconds=1)))
    assert find_current_caller(past.id, "vision", services) is None


def test_users_of_the_identity_provider_have_the_limits_of_tenants_while_it_is_configured(services: Services) -> None:
    caller = find_current_caller("oidc:ann", "vision", services)
    assert caller is not None
    assert (caller.limits, caller.tenant) == (TENANT_LIMITS, "vision")
    assert find_current_caller("oidc:ann", "audio", services) is None  # not among `oidc_tenants`
    assert find_current_caller("oidc:ann", "vision", replace(services, oidc=None)) is None


def test_work_without_a_key_has_the_limits_of_tenants_except_on_the_loopback(services: Services) -> None:
    stored = find_current_caller(None, "vision", services)
    assert stored == Caller(tenant="vision", limits=TENANT_LIMITS)
    keyless = replace(services, settings=Settings(keyless_loopback=True))
    assert find_current_caller(None, "default", keyless) == Caller()


def test_the_operator_is_known_while_there_is_an_operator_token(services: Services) -> None:
    caller = find_current_caller("operator", "default", services)
    assert caller is not None
    assert caller.root
    assert find_current_caller("operator", "default", replace(services, settings=Settings())) is None


@pytest.mark.parametrize("token", ["", "roo", "root\x00", "\udcff", "ö" * 10_000])
def test_any_text_can_be_compared_with_the_operator_token(token: str) -> None:
    assert not is_operator_token(token, SecretStr("root"))
    assert not is_operator_token(token, None)


def test_a_stream_ends_within_seconds_after_its_key_is_revoked_or_has_expired(services: Services) -> None:
    moment = 0.0

    def endless() -> Iterator[int]:
        nonlocal moment
        number = 0
        while True:
            moment += 1
            number += 1
            yield number

    key, _ = services.api_keys.issue(NewKey(tenant="vision"))
    stream = while_valid(endless(), key.caller, services, clock=lambda: moment)
    assert [next(stream) for _ in range(20)] == list(range(1, 21))
    services.api_keys.revoke(key.id)
    assert len(list(stream)) <= CHECK_SECONDS
    expired = key.caller.model_copy(update={"key": None, "expires_at": now() - timedelta(seconds=1)})
    assert len(list(while_valid(endless(), expired, services, clock=lambda: moment))) <= CHECK_SECONDS
