"""Calls with a deadline, to functions that hang, fail or work slowly."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import LimitReached, Refused, Unavailable
from shared.isolation.places import current_tenant
from shared.process.answer_time import set_answer_seconds
from shared.process.circuit_breaker import FAILURES, CircuitBreaker
from shared.process.guarded_calls import MAX_ABANDONED, Deadline, GuardedCalls, is_abandoned
from tests.support.waiting import wait_until


@pytest.fixture
def hang() -> Iterator[Callable[[], bool]]:
    """A function that hangs until the test ends; it returns whether its caller has given up."""
    released = threading.Event()
    yield lambda: released.wait(60) and is_abandoned()
    released.set()


def soon() -> Deadline:
    return Deadline(0.05, 1)


def later() -> Deadline:
    return Deadline(60, 1)


def fail(problem: Unavailable) -> None:
    raise problem


def test_a_call_that_hangs_ends_at_its_deadline(hang: Callable[[], bool]) -> None:
    with pytest.raises(Unavailable, match="the store did not answer in time"):
        GuardedCalls("the store", running=1, waiting=0).run(hang, soon())


def test_bytes_that_move_extend_the_deadline() -> None:
    clock = [0.0]
    deadline = Deadline(4, 100, lambda: clock[0])
    deadline.extend(1000)
    clock[0] = 13
    assert deadline.left == 1


def test_a_call_beyond_those_that_run_and_wait_is_refused_at_once(hang: Callable[[], bool]) -> None:
    calls = GuardedCalls("the store", running=1, waiting=0)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(calls.run, hang, Deadline(1, 1))
        wait_until(lambda: _is_refused(calls), 30, message="not refused")
        assert isinstance(first.exception(30), Unavailable)
    assert calls.run(lambda: 1, later()) == 1


def _is_refused(calls: GuardedCalls) -> bool:
    try:
        calls.run(lambda: 1, later())
    except Unavailable as problem:
        return "as many calls to the store" in problem.detail
    return False


def test_after_failures_in_a_row_calls_are_refused_with_the_cause() -> None:
    calls = GuardedCalls("the store", running=1, waiting=0, breaker=CircuitBreaker(lambda: 0.0))
    for _ in range(FAILURES):
        with pytest.raises(Unavailable, match="its disk is full"):
            calls.run(lambda: fail(Unavailable("its disk is full")), later())
    with pytest.raises(Unavailable, match="its disk is full"):
        calls.run(lambda: 1, later())
    assert calls.run(lambda: 1, later(), always=True) == 1
    assert calls.run(lambda: 1, later()) == 1


@pytest.mark.parametrize("answer", [Refused("no permission"), KeyError("missing")])
def test_a_dependency_that_answers_does_not_fail(answer: Exception) -> None:
    calls = GuardedCalls("the store", running=1, waiting=0, breaker=CircuitBreaker(lambda: 0.0))
    for _ in range(2 * FAILURES):
        with pytest.raises(type(answer)):
            calls.run(lambda: fail(answer), later())  # type: ignore[arg-type]
    assert calls.run(lambda: 1, later()) == 1


def test_a_call_knows_that_its_caller_has_given_up() -> None:
    released, seen = threading.Event(), []

    def work() -> None:
        released.wait(60)
        seen.append(is_abandoned())

    with pytest.raises(Unavailable):
        GuardedCalls("the store", running=1, waiting=0).run(work, soon())
    released.set()
    wait_until(lambda: bool(seen), 30, message="did not end")
    assert seen == [True]
    assert not is_abandoned()


def test_calls_of_one_tenant_leave_a_place_to_others(hang: Callable[[], bool]) -> None:
    calls = GuardedCalls("the store", running=3, waiting=2)
    with ThreadPoolExecutor() as threads:
        hanging = [threads.submit(_call_as, "greedy", calls, hang) for _ in range(6)]
        wait_until(lambda: any(call.done() for call in hanging), 30, message="none refused")
        assert _call_as("modest", calls, lambda: True)
        problems = [call.exception(30) for call in hanging]
    assert {type(problem) for problem in problems} == {LimitReached, Unavailable}


def _call_as(tenant: str, calls: GuardedCalls, function: Callable[[], bool]) -> bool:
    current_tenant.set(tenant)
    return calls.run(function, Deadline(3, 1))


def test_calls_that_cannot_start_do_not_count_as_calls_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = GuardedCalls("the store", running=1, waiting=0)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_thread)
        for _ in range(1 + MAX_ABANDONED):
            with pytest.raises(Unavailable, match="no thread left"):
                calls.run(lambda: 1, later())
    assert calls.run(lambda: 1, later()) == 1


def refuse_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_request_in_a_hurry_waits_once_for_a_dependency_that_hangs(hang: Callable[[], bool]) -> None:
    calls, others = GuardedCalls("the store", running=2, waiting=0), GuardedCalls("another", running=1, waiting=0)
    set_answer_seconds(0.05)
    try:
        with pytest.raises(Unavailable, match="the store did not answer in time"):
            calls.run(hang, soon())
        with pytest.raises(Unavailable, match="the store did not answer in time"):
            calls.run(lambda: 1, later())
        assert others.run(lambda: 1, later()) == 1
    finally:
        set_answer_seconds(None)
    assert calls.run(lambda: 1, later()) == 1  # another request
