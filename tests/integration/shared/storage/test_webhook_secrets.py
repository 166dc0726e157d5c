"""Signing secrets: concurrent requests get the same secret, with a real Redis and a real store."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from archetype.contract.job import now
from archetype.contract.webhook import Secret, Secrets
from shared.errors import Unavailable
from shared.settings import Settings
from shared.state.keys import key
from shared.state.locks import Locks
from shared.state.redis_client import RedisClient
from shared.storage import layout, webhook_secrets
from shared.storage.s3 import Bucket
from shared.storage.webhook_secrets import MAX_SECRETS, OVERLAP, SecretStore
from tests.support.clock import set_wrong

TENANT = "secrets-test"
CALLERS = 8


@pytest.fixture
def store(redis_client: RedisClient, bucket: Bucket) -> SecretStore:
    bucket.delete(layout.webhook_secrets(TENANT))
    return SecretStore(redis_client, bucket)


def call_at_once(settings: Settings, bucket: Bucket, call: Callable[[SecretStore], Secrets]) -> list[Secrets]:
    """Calls from several threads at the same time, each with a Redis client of its own."""
    barrier = threading.Barrier(CALLERS)

    def run(_: int) -> Secrets:
        store = SecretStore(RedisClient(settings), bucket)
        barrier.wait(60)
        return call(store)

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(run, range(CALLERS)))


def test_concurrent_first_requests_get_the_same_secret(store: SecretStore, settings: Settings, bucket: Bucket) -> None:
    answers = call_at_once(settings, bucket, lambda each: each.find(TENANT))
    assert answers == [store.find(TENANT)] * CALLERS
    assert len(answers[0].items) == 1


def test_concurrent_renewals_give_one_new_secret(
    store: SecretStore, settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = store.find(TENANT)
    load, seen = SecretStore._load, threading.Barrier(CALLERS)
    first = threading.local()

    def load_together(self: SecretStore, tenant: str) -> Any:
        """All callers read the same secrets before the first of them renews."""
        loaded = load(self, tenant)
        if not getattr(first, "is_over", False):
            first.is_over = True
            seen.wait(60)
        return loaded

    monkeypatch.setattr(SecretStore, "_load", load_together)
    answers = call_at_once(settings, bucket, lambda each: each.renew(TENANT))
    monkeypatch.undo()
    assert answers == [store.find(TENANT)] * CALLERS
    assert answers[0].items[1:] == former.items


def test_one_renewal_after_another_gives_two_secrets_and_all_stay_valid_for_a_day(store: SecretStore) -> None:
    answers = [store.find(TENANT), *(store.renew(TENANT) for _ in range(3))]
    newest = [answer.items[0].secret for answer in reversed(answers)]
    assert len(set(newest)) == 4
    assert store.list_signing_secrets(TENANT) == newest
    for _ in range(10):
        store.renew(TENANT)
    assert len(store.find(TENANT).items) == MAX_SECRETS


def test_a_secret_that_was_replaced_a_day_ago_signs_nothing(store: SecretStore, bucket: Bucket) -> None:
    items = [Secret(secret=f"whsec_{age}", created_at=now() - age * OVERLAP * 0.6) for age in range(4)]
    bucket.put_document(layout.webhook_secrets(TENANT), Secrets(items=items))
    assert store.list_signing_secrets(TENANT) == ["whsec_0", "whsec_1", "whsec_2"]
    renewed = store.renew(TENANT)
    assert [secret.secret for secret in renewed.items[1:]] == ["whsec_0", "whsec_1", "whsec_2"]
    assert timedelta(0) <= now() - renewed.items[0].created_at < timedelta(minutes=5)


def test_a_machine_whose_clock_is_ahead_signs_with_the_previous_secret_too(
    store: SecretStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, both = store.find(TENANT).items, store.renew(TENANT).items
    set_wrong(monkeypatch, 2 * OVERLAP)
    assert store.list_signing_secrets(TENANT) == [secret.secret for secret in both]
    assert both[1:] == first


def test_no_secret_is_made_while_another_process_holds_the_lock(
    store: SecretStore, locks: Locks, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_secrets, "LOCK_WAIT_SECONDS", 0.2)
    with locks.try_lock(f"secret:{TENANT}", 60) as held:
        assert held is not None
        for call in (store.find, store.renew):
            with pytest.raises(Unavailable, match="another request"):
                call(TENANT)
    assert list(bucket.keys(layout.webhook_secrets(TENANT))) == []


def test_no_secret_is_stored_if_the_lock_expires_first(
    store: SecretStore, redis_client: RedisClient, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expire(count: int) -> bytes:
        with redis_client.connection() as redis:
            redis.delete(key(f"alone:secret:{TENANT}"))
        return bytes(count)

    monkeypatch.setattr("secrets.token_bytes", expire)
    with pytest.raises(Unavailable, match="expired before the work was done"):
        store.find(TENANT)
    assert list(bucket.keys(layout.webhook_secrets(TENANT))) == []


def test_a_store_with_conditional_writes_refuses_the_second_secret_even_without_a_lock(
    store: SecretStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Secrets(items=[Secret(secret="whsec_other", created_at=now())])

    def refuse(name: str, _document: Secrets, *, tag: str | None) -> bool:
        bucket.put_document(name, other)
        return False

    monkeypatch.setattr(bucket, "replace_document", refuse)
    assert store.find(TENANT) == other
    monkeypatch.setattr(bucket, "replace_document", lambda *_, **__: False)
    with pytest.raises(Unavailable, match="could not be stored"):
        store.renew(TENANT)
