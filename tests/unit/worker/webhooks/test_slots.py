"""How many deliveries run at once: in all, for a tenant, and for a receiver."""

import pytest

from worker.webhooks.slots import (
    FREE_SHARE,
    MAX_CONCURRENT,
    MAX_DELAY_SECONDS,
    MAX_OF_RECEIVER,
    MAX_OF_TENANT,
    MAX_OF_TENANT_AND_RECEIVER,
    MAX_PAUSE_SECONDS,
    MAX_REMEMBERED,
    Slots,
)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slots(clock: Clock) -> Slots:
    return Slots(clock)


def fill(slots: Slots, tenant: str) -> int:
    """Takes slots until the tenant is full; returns how many."""
    count = 0
    while tenant not in slots.list_full_tenants() and slots.has_free():
        slots.take(tenant)
        count += 1
    return count


def test_a_tenant_gets_only_its_slots(slots: Slots) -> None:
    assert fill(slots, "a") == MAX_OF_TENANT
    assert slots.list_full_tenants() == ["a"]
    slots.give_back("a")
    assert slots.list_full_tenants() == []


def test_ten_tenants_together_leave_free_slots_for_another(slots: Slots) -> None:
    taken = sum(fill(slots, f"slow-{number}") for number in range(10))
    assert taken < MAX_CONCURRENT
    assert slots.has_free()
    assert "another" not in slots.list_full_tenants()
    assert fill(slots, "another") >= 1


def test_the_limit_of_a_tenant_shrinks_with_the_free_slots(slots: Slots) -> None:
    for number in range(MAX_CONCURRENT - FREE_SHARE):
        slots.take(f"t{number}")
    assert fill(slots, "greedy") == 1


def test_there_are_never_more_deliveries_than_slots(slots: Slots) -> None:
    assert sum(fill(slots, f"t{number}") for number in range(10 * MAX_CONCURRENT)) == MAX_CONCURRENT
    assert not slots.has_free()


def test_a_tenant_gets_two_places_at_a_receiver(slots: Slots) -> None:
    waits = [slots.enter("a", "r:443") for _ in range(MAX_OF_TENANT_AND_RECEIVER + 1)]
    assert waits[:-1] == [0.0] * MAX_OF_TENANT_AND_RECEIVER
    assert waits[-1] > 0
    assert slots.enter("a", "other:443") == slots.enter("b", "r:443") == 0.0
    slots.leave("a", "r:443", seconds=1, failed=False)
    assert slots.enter("a", "r:443") == 0.0


def test_all_tenants_together_get_eight_places_at_a_receiver(slots: Slots) -> None:
    waits = [slots.enter(f"t{number}", "r:443") for number in range(MAX_OF_RECEIVER + 1)]
    assert [wait > 0 for wait in waits] == [False] * MAX_OF_RECEIVER + [True]


def test_a_receiver_that_fails_is_paused_longer_each_time_for_this_tenant_alone(slots: Slots, clock: Clock) -> None:
    pauses = []
    for _ in range(6):
        assert slots.enter("a", "r:443") == 0.0
        slots.leave("a", "r:443", seconds=0.1, failed=True)
        pauses.append(round(slots.enter("a", "r:443")))
        assert slots.enter("b", "r:443") == 0.0
        slots.leave("b", "r:443", seconds=0.1, failed=False)
        clock.time += pauses[-1]
    assert pauses == [5, 10, 20, 40, MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS]
    assert slots.enter("a", "r:443") == 0.0
    slots.leave("a", "r:443", seconds=0.1, failed=False)
    assert slots.enter("a", "r:443") == 0.0


def test_a_receiver_is_paused_as_long_as_it_asks(slots: Slots, clock: Clock) -> None:
    slots.enter("a", "r:443")
    slots.leave("a", "r:443", seconds=0.1, failed=True, pause=600)
    clock.time += 599
    assert slots.enter("a", "r:443") > 0
    clock.time += 2
    assert slots.enter("a", "r:443") == 0.0


def test_delayed_deliveries_to_a_slow_receiver_are_spread_over_time(slots: Slots) -> None:
    slots.enter("a", "r:443")
    slots.leave("a", "r:443", seconds=10, failed=False)
    for _ in range(MAX_OF_TENANT_AND_RECEIVER):
        slots.enter("a", "r:443")
    waits = [slots.enter("a", "r:443") for _ in range(1000)]
    assert waits[:3] == [5.0, 10.0, 15.0]
    assert max(waits) == MAX_DELAY_SECONDS


def test_the_memory_of_receivers_is_limited(slots: Slots) -> None:
    for number in range(MAX_REMEMBERED + 100):
        slots.enter("a", f"r{number}:443")
        slots.leave("a", f"r{number}:443", seconds=1, failed=True)
    assert len(slots._states) == MAX_REMEMBERED
    assert not slots._of_receiver
    assert not slots._of_both
