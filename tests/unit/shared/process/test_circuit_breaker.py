"""The circuit breaker, on a clock of the test."""

from shared.process.circuit_breaker import FAILURES, OPEN_SECONDS, SILENT_SECONDS, CircuitBreaker


def test_it_opens_after_failures_in_a_row_and_lets_one_call_through_from_time_to_time() -> None:
    clock = [0.0]
    breaker = CircuitBreaker(lambda: clock[0])
    for _ in range(FAILURES - 1):
        breaker.fail("broken")
    assert breaker.find_refusal() is None
    breaker.fail("broken")
    assert breaker.find_refusal() == "broken"
    clock[0] = OPEN_SECONDS
    assert [breaker.find_refusal() for _ in range(3)] == [None, "broken", "broken"]


def test_a_success_closes_it() -> None:
    breaker = CircuitBreaker(lambda: 0.0)
    for _ in range(FAILURES):
        breaker.fail("broken")
    breaker.succeed()
    assert breaker.find_refusal() is None
    breaker.fail("broken")
    assert breaker.find_refusal() is None


def test_one_call_that_waited_in_vain_opens_it_unless_another_succeeded_meanwhile() -> None:
    clock = [0.0]
    breaker = CircuitBreaker(lambda: clock[0])
    breaker.succeed()
    clock[0] = 10
    breaker.fail("no answer", waited=SILENT_SECONDS)
    assert breaker.find_refusal() == "no answer"
    breaker.succeed()
    clock[0] = 10 + SILENT_SECONDS
    breaker.fail("no answer", waited=2 * SILENT_SECONDS)
    assert breaker.find_refusal() is None
