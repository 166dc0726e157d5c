"""The tables of rights name everything that exists, and give no part more than it needs."""

import re
from fnmatch import fnmatchcase

import pytest
from pydantic import SecretStr

from deploy.local_secrets import list_secrets
from deploy.rights import REDIS_NAMES, SECRETS, STORE, Access, Role, list_key_patterns, list_prefixes, make_policy
from shared.settings import Settings
from shared.storage.layout import PREFIXES
from tests.support.paths import ROOT

RESTRICTED = [role for role in Role if role is not Role.API]
NOT_FOR_WORKERS = {"idempotency", "ready", "redbeat", "session", "sessions", "submitting"}
"""Redis keys of the API and of the scheduler."""


def list_key_names() -> set[str]:
    """The parts after `archetype:` of all keys that the code uses."""
    code = "".join(path.read_text() for folder in ("shared", "api", "worker") for path in (ROOT / folder).rglob("*.py"))
    scripts = "".join(path.read_text() for path in (ROOT / "shared" / "queue" / "scripts").glob("*.lua"))
    return {*re.findall(r'\bkey\(f?"([a-z_-]+)', code), *re.findall(r"prefix \.\. '([a-z_-]+)", scripts)}


def test_every_prefix_of_the_store_is_assigned() -> None:
    assert {prefix.partition("/")[0] for prefix in STORE} == set(PREFIXES)


def test_every_redis_key_is_known_to_be_for_workers_or_not() -> None:
    names = list_key_names()
    assert {"job", "leases", "outbox", "served", "turns"} <= names
    assert names - set(REDIS_NAMES[Role.WORKER]) <= NOT_FOR_WORKERS


def test_every_secret_setting_is_assigned_to_one_part() -> None:
    assert set(list_secrets()) <= set(SECRETS)
    others = {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr}
    assert others == {"s3_secret_key"}  # each part has its own


def test_only_the_api_can_write_api_keys() -> None:
    for role in RESTRICTED:
        assert not any(place.startswith("access/keys") for place in list_prefixes(role, Access.WRITE, Access.DELETE))
    for role in (Role.WORKER, Role.WEBHOOK_SENDER):
        readable = list_prefixes(role, *Access)
        assert not any("access/keys/x.json".startswith(place) for place in readable), role


@pytest.mark.parametrize("role", RESTRICTED)
def test_a_policy_allows_no_change_outside_the_table(role: Role) -> None:
    policy = make_policy(Settings(picture_prefixes=["probes/"]), role)
    for statement in policy["Statement"]:
        if "s3:PutObject" in statement["Action"]:
            assert {place.split(":::archetype/")[1] for place in statement["Resource"]} == {
                f"{prefix}*" for prefix in list_prefixes(role, Access.WRITE)
            }
        assert "arn:aws:s3:::archetype/*" not in statement["Resource"]
        assert "access/keys/*" not in str(statement) or role is Role.SCHEDULER


@pytest.mark.parametrize("role", [Role.WORKER, Role.WEBHOOK_SENDER])
def test_redis_keys_of_others_are_not_those_of_workers(role: Role) -> None:
    patterns = list_key_patterns(role)
    for name in (
        "archetype:idempotency:t:k",
        "archetype:session:x",
        "archetype:redbeat:x",
        "LIMITS:x",
        "archetype:jobs",
    ):
        assert not any(fnmatchcase(name, pattern) for pattern in patterns), name
