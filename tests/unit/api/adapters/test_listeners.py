"""The share of tenants and keys in event streams."""

import pytest

from api.adapters.listeners import Listeners
from shared.errors import LimitReached


def test_one_tenant_may_open_all_streams_and_no_more() -> None:
    listeners = Listeners(4)
    opened = [listeners.open("one", "key") for _ in range(4)]
    with pytest.raises(LimitReached, match="4 connections"):
        listeners.open("one", "key")
    assert not any(listener.is_evicted for listener in opened)
    listeners.close(opened[0])
    listeners.open("one", "key")


def test_every_tenant_gets_its_share_and_the_oldest_streams_of_the_largest_end() -> None:
    listeners = Listeners(32)
    greedy = [listeners.open("greedy", "key") for _ in range(32)]
    others = [listeners.open(f"tenant-{number}", "key") for number in range(4) for _ in range(4)]
    assert [listener.is_evicted for listener in greedy] == [True] * 16 + [False] * 16
    assert not any(listener.is_evicted for listener in others)
    with pytest.raises(LimitReached):
        listeners.open("greedy", "key")
    assert not listeners.open("late", "key").is_evicted


def test_keys_of_one_tenant_share_its_streams() -> None:
    listeners = Listeners(4)
    greedy = [listeners.open("one", "greedy") for _ in range(4)]
    assert not listeners.open("one", "other").is_evicted
    assert greedy[0].is_evicted


def test_many_keys_of_one_tenant_do_not_displace_another_tenant() -> None:
    listeners = Listeners(4)
    for number in range(4):
        listeners.open("one", f"key-{number}")
    other = listeners.open("two", "key")
    for number in range(4):
        with pytest.raises(LimitReached):
            listeners.open("one", f"more-{number}")
    assert not other.is_evicted


def test_a_stream_that_was_evicted_can_be_closed() -> None:
    listeners = Listeners(2)
    first, _ = listeners.open("one", "key"), listeners.open("one", "key")
    listeners.open("two", "key")
    listeners.close(first)
    with pytest.raises(LimitReached):
        listeners.open("one", "key")
