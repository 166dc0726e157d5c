"""API keys: issued, stored as digests, expired and revoked."""

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from archetype.client import Client, ServiceError
from archetype.contract.api_key import NewKey
from archetype.contract.job import now
from deploy.local import Stack
from shared.storage.api_keys import ApiKeyStore
from shared.storage.s3 import Bucket


def test_keys_are_managed_by_the_operator_only(mallory: httpx2.Client) -> None:
    for answer in (
        mallory.get("/v1/keys"), mallory.post("/v1/keys", json={"tenant": "alice"}),
        mallory.delete(f"/v1/keys/{'0' * 16}"),
    ):  # fmt: skip
        assert answer.status_code == 403


def test_a_key_is_stored_without_its_secret(stack: Stack, operator: Client) -> None:
    issued = operator.issue_key(NewKey(tenant="quiet"))
    secret = issued.token.removeprefix(f"archetype_{issued.id}_")
    bucket = Bucket(stack.settings)
    stored = [bucket.get(key).decode() for key in bucket.keys("access/")]
    assert any(issued.id in document for document in stored)
    assert not any(secret in document for document in stored)
    assert secret not in httpx2.get(f"{stack.url}/v1/keys", headers=dict(operator._transport.http.headers)).text


def test_a_revoked_key_is_refused(stack: Stack, operator: Client) -> None:
    issued = operator.issue_key(NewKey(tenant="brief"))
    with Client(stack.url, key=issued.token) as client:
        assert list(client.jobs()) == []
        assert operator.revoke_key(issued.id).revoked_at is not None
        with pytest.raises(ServiceError, match="key"):
            list(client.jobs())
    assert "revoked_at" in operator.list_keys()[-1].model_dump_json()


def test_a_key_that_another_process_revoked_is_refused_within_seconds(stack: Stack) -> None:
    moment = 0.0
    bucket = Bucket(stack.settings)
    api_keys, other_process = ApiKeyStore(bucket, clock=lambda: moment), ApiKeyStore(bucket)
    key, token = api_keys.issue(NewKey(tenant="brief"))
    assert api_keys.find(token) == key
    other_process.revoke(key.id)
    assert api_keys.find(token) == key
    moment = 5.1
    assert api_keys.find(token) is None


def test_a_key_is_refused_after_its_expiry(stack: Stack) -> None:
    api_keys = ApiKeyStore(Bucket(stack.settings))
    past, future = (now() + timedelta(seconds=seconds) for seconds in (-1, 60))
    assert api_keys.find(api_keys.issue(NewKey(tenant="t", expires_at=past))[1]) is None
    assert api_keys.find(api_keys.issue(NewKey(tenant="t", expires_at=future))[1]) is not None


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"), lambda text: text[:-5], str.upper]
)
def test_a_changed_key_is_refused(stack: Stack, change: Any) -> None:
    api_keys = ApiKeyStore(Bucket(stack.settings))
    _, token = api_keys.issue(NewKey(tenant="t"))
    assert api_keys.find(change(token)) is None
