"""The keys of an identity provider: how often they are read, who waits for them, and what a failure costs."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.adapters import oidc_keys
from api.adapters.oidc_http import ProviderFailed
from api.adapters.oidc_keys import (
    FAILURE_SECONDS,
    FRESH_SECONDS,
    MAX_WAITERS,
    UNKNOWN_KEY_SECONDS,
    USABLE_SECONDS,
    KeySet,
    ProviderKeys,
)
from shared.errors import Unavailable
from tests.support.waiting import wait_until


class Provider:
    """Counts how often its keys are read; fails or hangs on demand."""

    def __init__(self) -> None:
        self.reads, self.now, self.fails = 0, 1000.0, False
        self.answers = threading.Event()
        self.answers.set()
        self.keys = ProviderKeys(self._read, clock=lambda: self.now)

    def _read(self) -> KeySet:
        self.reads += 1
        assert self.answers.wait(60)
        if self.fails:
            raise ProviderFailed("the provider answered 500: out of order")
        return [{"kid": str(self.reads)}]

    def is_idle(self) -> bool:
        return self.keys._pending is None


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.answers.set()


def test_keys_are_read_once_and_refreshed_in_the_background(provider: Provider) -> None:
    first = provider.keys.current()
    provider.now += FRESH_SECONDS - 1
    assert provider.keys.current() is first
    assert provider.reads == 1
    provider.now += 1
    provider.answers.clear()
    for _ in range(50):  # no request waits for the refresh, and there is one
        assert provider.keys.current() is first
    provider.answers.set()
    wait_until(provider.is_idle, 60, message="the refresh has not ended")
    assert provider.reads == 2
    assert provider.keys.current() == [{"kid": "2"}]


def test_many_requests_at_the_start_read_the_keys_once(provider: Provider) -> None:
    provider.answers.clear()
    with ThreadPoolExecutor(MAX_WAITERS) as pool:
        waiting = [pool.submit(provider.keys.current) for _ in range(MAX_WAITERS)]
        provider.answers.set()
        assert [future.result(60) for future in waiting] == [[{"kid": "1"}]] * MAX_WAITERS
    assert provider.reads == 1


def test_a_flood_of_unknown_keys_causes_one_read_in_ten_seconds(provider: Provider) -> None:
    first = provider.keys.current()
    for _ in range(1000):
        assert provider.keys.refreshed() is first
    assert provider.reads == 1
    provider.now += UNKNOWN_KEY_SECONDS
    second = provider.keys.refreshed()
    assert (second, provider.reads) == ([{"kid": "2"}], 2)
    for _ in range(1000):
        assert provider.keys.refreshed() is second
    assert provider.reads == 2


def count_outcomes(call: Callable[[], object], count: int, release: Callable[[], None]) -> tuple[int, int]:
    """Calls from many threads; returns how many were answered with keys and how many were refused."""
    refused, done = [], []

    def attempt() -> None:
        try:
            done.append(call())
        except Unavailable as problem:
            refused.append(problem)

    threads = [threading.Thread(target=attempt) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(refused) >= count - MAX_WAITERS, 60, message="requests are not refused")
    release()
    for thread in threads:
        thread.join(60)
    return len(done), len(refused)


def test_a_provider_that_hangs_occupies_a_bounded_number_of_requests(provider: Provider) -> None:
    provider.answers.clear()
    assert count_outcomes(provider.keys.current, 40, provider.answers.set) == (MAX_WAITERS, 40 - MAX_WAITERS)
    assert provider.reads == 1


def test_requests_with_known_keys_do_not_wait_for_a_provider_that_hangs(provider: Provider) -> None:
    first = provider.keys.current()
    provider.now += UNKNOWN_KEY_SECONDS
    provider.answers.clear()

    def release() -> None:
        assert provider.keys.current() is first
        provider.answers.set()

    assert count_outcomes(provider.keys.refreshed, 40, release) == (MAX_WAITERS, 40 - MAX_WAITERS)


def test_a_read_that_never_ends_is_not_waited_for_again(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc_keys, "WAIT_SECONDS", 0.05)
    provider.answers.clear()
    with pytest.raises(Unavailable, match="did not answer within"):
        provider.keys.current()
    provider.now += 60
    for _ in range(100):
        with pytest.raises(Unavailable, match="has not answered"):
            provider.keys.current()
    assert provider.reads == 1


def test_a_failure_is_remembered_for_some_seconds_and_names_its_cause(provider: Provider) -> None:
    provider.fails = True
    for _ in range(100):
        with pytest.raises(Unavailable, match="answered 500: out of order") as failed:
            provider.keys.current()
        assert failed.value.retry_after == FAILURE_SECONDS
    assert provider.reads == 1
    provider.now += FAILURE_SECONDS
    provider.fails = False
    assert provider.keys.current() == [{"kid": "2"}]


def test_known_keys_are_used_while_the_provider_fails_but_not_for_ever(provider: Provider) -> None:
    first = provider.keys.current()
    provider.fails = True
    provider.now += FRESH_SECONDS
    assert provider.keys.current() is first
    wait_until(provider.is_idle, 60, message="the refresh has not ended")
    for _ in range(100):
        assert provider.keys.current() is first
    assert provider.reads == 2
    with pytest.raises(Unavailable, match="out of order"):
        provider.keys.refreshed()
    provider.now += USABLE_SECONDS
    with pytest.raises(Unavailable, match="out of order"):
        provider.keys.current()
