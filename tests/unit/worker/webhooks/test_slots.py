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
    slots.give_back(next(iter(slots._taken)))
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


def enter(slots: Slots, tenant: str, receiver: str = "r:443") -> float:
    return slots.enter(slots.take(tenant), receiver)


def enter_and_leave(slots: Slots, tenant: str, *, failed: bool, receiver: str = "r:443", **times: float) -> None:
    slot = slots.take(tenant)
    assert slots.enter(slot, receiver) == 0.0
    slots.leave(slot, failed=failed, **{"seconds": 0.1, **times})
    slots.give_back(slot)


def test_a_tenant_gets_two_places_at_a_receiver(slots: Slots) -> None:
    taken = [slots.take("a") for _ in range(MAX_OF_TENANT_AND_RECEIVER + 1)]
    waits = [slots.enter(slot, "r:443") for slot in taken]
    assert waits[:-1] == [0.0] * MAX_OF_TENANT_AND_RECEIVER
    assert waits[-1] > 0
    assert enter(slots, "a", "other:443") == enter(slots, "b") == 0.0
    slots.leave(taken[0], seconds=1, failed=False)
    assert enter(slots, "a") == 0.0


def test_all_tenants_together_get_eight_places_at_a_receiver(slots: Slots) -> None:
    waits = [enter(slots, f"t{number}") for number in range(MAX_OF_RECEIVER + 1)]
    assert [wait > 0 for wait in waits] == [False] * MAX_OF_RECEIVER + [True]


def test_a_slot_that_is_given_back_has_no_place_at_a_receiver_left(slots: Slots) -> None:
    slot = slots.take("a")
    slots.enter(slot, "r:443")
    for _ in range(2):  # a second call changes nothing
        slots.give_back(slot)
        assert not any((slots._of_tenant, slots._of_receiver, slots._of_both))
    assert slots.measure_oldest() == 0
    assert enter(slots, "a") == 0.0  # and the receiver is not paused for it


def test_the_age_of_the_oldest_delivery_is_known(slots: Slots, clock: Clock) -> None:
    assert slots.measure_oldest() == 0
    first = slots.take("a")
    clock.time += 10
    second = slots.take("b")
    clock.time += 1
    assert slots.measure_oldest() == 11
    slots.give_back(first)
    assert slots.measure_oldest() == 1
    slots.give_back(second)
    assert slots.measure_oldest() == 0


def test_a_receiver_that_fails_is_paused_longer_each_time_for_this_tenant_alone(slots: Slots, clock: Clock) -> None:
    pauses = []
    for _ in range(6):
        enter_and_leave(slots, "a", failed=True)
        pauses.append(round(enter(slots, "a")))
        enter_and_leave(slots, "b", failed=False)
        clock.time += pauses[-1]
    assert pauses == [5, 10, 20, 40, MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS]
    enter_and_leave(slots, "a", failed=False)
    assert enter(slots, "a") == 0.0


def test_a_receiver_is_paused_as_long_as_it_asks(slots: Slots, clock: Clock) -> None:
    enter_and_leave(slots, "a", failed=True, pause=600)
    clock.time += 599
    assert enter(slots, "a") > 0
    clock.time += 2
    assert enter(slots, "a") == 0.0


def test_delayed_deliveries_to_a_slow_receiver_are_spread_over_time(slots: Slots) -> None:
    enter_and_leave(slots, "a", failed=False, seconds=10)
    for _ in range(MAX_OF_TENANT_AND_RECEIVER):
        enter(slots, "a")
    waits = [enter(slots, "a") for _ in range(1000)]
    assert waits[:3] == [5.0, 10.0, 15.0]
    assert max(waits) == MAX_DELAY_SECONDS


def test_the_memory_of_receivers_is_limited(slots: Slots) -> None:
    for number in range(MAX_REMEMBERED + 100):
        enter_and_leave(slots, "a", failed=True, receiver=f"r{number}:443")
    assert len(slots._states) == MAX_REMEMBERED
    assert not slots._of_receiver
    assert not slots._of_both
