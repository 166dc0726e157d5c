"""Waiting: within a limit for the whole of it, over interruptions of the service."""

from collections.abc import Callable

import pytest

from archetype import polling
from archetype.contract.job import Job, State
from archetype.errors import ArchetypeError, NoConnection, NotFound, RateLimited, TimedOut, Unavailable
from archetype.polling import MAX_FAILURES, poll
from tests.support.clock import Clock
from tests.support.mock_service import make_job


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(polling, "time", clock)
    return clock


def replay(*answers: State | ArchetypeError) -> Callable[[float], Job]:
    left = list(answers)

    def read(_: float) -> Job:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, ArchetypeError):
            raise answer
        return make_job(answer)

    return read


def test_every_state_is_yielded_the_terminal_one_last(clock: Clock) -> None:
    read = replay(State.QUEUED, State.RUNNING, State.SUCCEEDED)
    states = [job.state for job in poll(read, "job x", timeout=10, pause=0.25)]
    assert states == [State.QUEUED, State.RUNNING, State.SUCCEEDED]


def test_pauses_grow_up_to_the_longest(clock: Clock) -> None:
    with pytest.raises(TimedOut):
        list(poll(replay(State.RUNNING), "job x", timeout=10, pause=0.25))
    assert clock.pauses[0] == polling.FIRST_PAUSE_SECONDS
    assert clock.pauses == sorted(clock.pauses[:-1]) + clock.pauses[-1:]
    assert max(clock.pauses) == 0.25


def test_the_limit_is_for_the_whole_wait_and_for_the_last_request(clock: Clock) -> None:
    limits: list[float] = []

    def read(seconds: float) -> Job:
        limits.append(seconds)
        clock.now += 3  # a slow service
        return make_job(State.RUNNING)

    with pytest.raises(TimedOut, match="job x has not ended after 10 s; it is still running"):
        list(poll(read, "job x", timeout=10, pause=0.25))
    assert limits[0] == 10
    assert limits == sorted(limits, reverse=True)
    assert min(limits) >= polling.MIN_REQUEST_SECONDS
    assert clock.now - 1000 <= 10 + 3


def test_short_interruptions_of_the_service_do_not_end_a_wait(clock: Clock) -> None:
    interruptions = [
        NoConnection("down"),
        Unavailable("no Redis", retry_after=5),
        RateLimited("slow down"),
        TimedOut("late"),
    ]
    read = replay(State.RUNNING, *interruptions, State.SUCCEEDED)
    assert [job.state for job in poll(read, "job x", timeout=60, pause=0.25)] == [State.RUNNING, State.SUCCEEDED]
    assert clock.pauses[1:] == [1, 5, 3, 4]


def test_long_interruptions_of_the_service_end_a_wait(clock: Clock) -> None:
    with pytest.raises(NoConnection):
        list(poll(replay(State.RUNNING, NoConnection("down")), "job x", timeout=600, pause=0.25))
    assert len(clock.pauses) == 1 + MAX_FAILURES


@pytest.mark.parametrize("answers", [(NoConnection("down"),), (State.RUNNING, NotFound("deleted"))])
def test_a_service_that_never_answered_and_a_refusal_end_a_wait_at_once(
    clock: Clock, answers: tuple[State | ArchetypeError, ...]
) -> None:
    with pytest.raises((NoConnection, NotFound)):
        list(poll(replay(*answers), "job x", timeout=600, pause=0.25))
    assert len(clock.pauses) == len(answers) - 1
