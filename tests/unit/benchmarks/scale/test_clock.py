"""The simulated clock of the benchmark of large fleets."""

from benchmarks.scale.clock import SimulatedClock


def test_functions_run_in_the_order_of_their_simulated_times() -> None:
    clock, order = SimulatedClock(), list[tuple[str, float]]()
    began = clock.seconds

    def tick(name: str, seconds: float) -> None:
        for _ in range(2):
            clock.sleep(seconds)
            order.append((name, round(clock.seconds - began, 6)))

    clock.spawn(lambda: tick("slow", 3600.0))
    clock.spawn(lambda: tick("fast", 1000.0), after=100.0)
    clock.run(7200.0)
    assert order == [("fast", 1100.0), ("fast", 2100.0), ("slow", 3600.0), ("slow", 7200.0)]


def test_a_stopped_function_and_its_children_never_run_again() -> None:
    clock, ran = SimulatedClock(), list[str]()

    def run(name: str) -> None:
        while True:
            clock.sleep(1.0)
            ran.append(name)

    def run_parent() -> None:
        clock.spawn(lambda: run("child"), is_child=True)
        run("parent")

    machine = clock.spawn(run_parent)
    clock.spawn(lambda: run("other"))
    clock.run(1.5)
    clock.stop(machine)
    clock.run(1.0)
    assert sorted(ran) == ["child", "other", "other", "parent"]


def test_a_woken_function_does_not_also_end_the_sleep_that_it_begins_next() -> None:
    clock, woken = SimulatedClock(), list[float]()
    began = clock.seconds

    def sleep_twice() -> None:
        for _ in range(2):
            clock.sleep(10.0)
            woken.append(clock.seconds - began)

    process = clock.spawn(sleep_twice)
    clock.run(1.0)
    clock.wake(process)
    clock.run(30.0)
    assert [round(seconds) for seconds in woken] == [1, 11]
