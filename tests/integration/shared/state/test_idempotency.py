"""Idempotency keys, in a real Redis."""

import pytest
import redis

from shared.errors import Unavailable
from shared.state.idempotency import IdempotencyKeys


def test_a_key_stays_bound_to_its_first_value(idempotency: IdempotencyKeys) -> None:
    assert idempotency.reserve("default", "key", "one", 60) == "one"
    assert idempotency.reserve("default", "key", "two", 60) == "one"


def test_tenants_do_not_share_keys(idempotency: IdempotencyKeys) -> None:
    assert idempotency.reserve("default", "key", "one", 60) == "one"
    assert idempotency.reserve("other", "key", "two", 60) == "two"


def test_a_key_that_was_not_bound_is_not_treated_as_bound(
    idempotency: IdempotencyKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier binding ends after the key was found bound, before its value is read."""
    assert idempotency.reserve("default", "key", "one", 60) == "one"
    get = redis.Redis.get

    def expire(self: redis.Redis, name: str) -> object:
        self.delete(name)
        return get(self, name)

    monkeypatch.setattr(redis.Redis, "get", expire)
    assert idempotency.reserve("default", "key", "two", 60) == "two"
    monkeypatch.undo()
    assert idempotency.reserve("default", "key", "three", 60) == "two"
    monkeypatch.setattr(redis.Redis, "set", lambda *_, **__: None)
    monkeypatch.setattr(redis.Redis, "get", lambda *_: None)
    with pytest.raises(Unavailable):
        idempotency.reserve("default", "key", "three", 60)
