"""Leases expire if they are seen unchanged for too long; time in which nothing is seen counts little."""

import pytest

from tests.support.clock import Clock
from worker.execution import recovery
from worker.execution.recovery import LeaseMonitor

LEASE, SWEEP = 15.0, 3.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(recovery, "time", made)
    return made


def look(monitor: LeaseMonitor, clock: Clock, beat: str, *, after: float = SWEEP) -> bool:
    """Whether the only lease has expired when the monitor looks after so many seconds."""
    clock.now += after
    return monitor.find_expired({"job:0": beat}) == {"job:0": beat}


def test_a_lease_expires_when_it_was_seen_unchanged_for_longer_than_it_lasts(clock: Clock) -> None:
    monitor = LeaseMonitor(LEASE, looked_at=clock.now)
    assert not look(monitor, clock, "1")
    assert [look(monitor, clock, "1") for _ in range(6)] == [False] * 5 + [True]
    assert not look(monitor, clock, "2")


@pytest.mark.parametrize("pause", [33.0, 3600.0])
def test_a_lease_does_not_expire_while_nobody_looks(clock: Clock, pause: float) -> None:
    monitor = LeaseMonitor(LEASE, looked_at=clock.now)
    look(monitor, clock, "1")
    look(monitor, clock, "1")
    for beat in ("1", "2", "3", "4", "5"):
        assert not look(monitor, clock, beat, after=pause)
        assert not look(monitor, clock, beat)
    assert [look(monitor, clock, "5") for _ in range(5)] == [False] * 4 + [True]


def test_a_lease_expires_also_if_the_looks_are_rare(clock: Clock) -> None:
    monitor = LeaseMonitor(LEASE, looked_at=clock.now)
    assert [look(monitor, clock, "1", after=60) for _ in range(4)] == [False, False, False, True]
