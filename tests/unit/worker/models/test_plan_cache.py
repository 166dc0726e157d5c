"""The plan cache: an execution plan is measured once for all workers of a machine."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from worker.engine.model.autotune import ExecutionPlan
from worker.models.plan_cache import REMEASURE_SECONDS, PlanCache

FAST, SLOW = ExecutionPlan("bfloat16", 32, 1.0), ExecutionPlan("float32", 8, 2.0)


def never() -> ExecutionPlan:
    raise AssertionError("the plan was measured twice")


def test_an_execution_plan_is_measured_once_for_all_processes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "plans.json"
    first = PlanCache(path)
    assert first.find("one", lambda: FAST) == FAST
    assert first.find("one", never) == FAST
    assert PlanCache(path).find("one", never) == FAST
    assert PlanCache(path).find("two", lambda: SLOW) == SLOW
    assert PlanCache(path).find("one", never) == FAST


def test_the_first_of_two_concurrent_measurements_wins(tmp_path: Path) -> None:
    one, two = PlanCache(tmp_path / "plans.json"), PlanCache(tmp_path / "plans.json")

    def measure_after_another_worker() -> ExecutionPlan:
        two.find("key", lambda: SLOW)
        return FAST

    assert one.find("key", measure_after_another_worker) == SLOW


@pytest.mark.parametrize("content", ["", "[]", '{"key": {"batch": 3}}', "{"])
def test_a_broken_plan_file_is_replaced_by_new_measurements(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plans.json"
    path.write_text(content)
    assert PlanCache(path).find("key", lambda: FAST) == FAST
    assert PlanCache(path).find("key", never) == FAST


def test_a_plan_cache_without_a_file_remembers_plans_in_the_process() -> None:
    plans = PlanCache(None)
    assert [plans.find("key", lambda: FAST), plans.find("key", never)] == [FAST, FAST]


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


BUSY = replace(SLOW, load=1.0)


def test_a_plan_that_was_measured_on_a_busy_machine_is_used_and_measured_again_later(tmp_path: Path) -> None:
    clock = Clock()
    plans = PlanCache(tmp_path / "plans.json", clock)
    assert plans.find("key", lambda: BUSY) == BUSY
    clock.now += REMEASURE_SECONDS / 2
    assert plans.find("key", never) == BUSY
    clock.now += REMEASURE_SECONDS
    assert plans.find("key", lambda: FAST) == FAST
    clock.now += 10 * REMEASURE_SECONDS
    assert plans.find("key", never) == FAST
    assert PlanCache(tmp_path / "plans.json", clock).find("key", never) == FAST


@pytest.mark.parametrize("path", [None, "plans.json"])
def test_a_machine_that_stays_busy_is_not_measured_at_every_job(tmp_path: Path, path: str | None) -> None:
    clock, counted = Clock(), []
    plans = PlanCache(tmp_path / path if path else None, clock)

    def measure() -> ExecutionPlan:
        counted.append(clock.now)
        return replace(BUSY, load=1.0 + len(counted))

    for _ in range(40):
        assert plans.find("key", measure).load == 2.0
        clock.now += REMEASURE_SECONDS / 4
    assert len(counted) == 10


def test_a_better_plan_of_another_worker_is_used_without_a_measurement(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "plans.json"
    one, two = PlanCache(path, clock), PlanCache(path, clock)
    assert [one.find("key", lambda: BUSY), two.find("key", never)] == [BUSY, BUSY]
    clock.now += REMEASURE_SECONDS
    assert one.find("key", lambda: FAST) == FAST
    assert two.find("key", never) == FAST


def test_a_plan_that_a_busy_worker_stored_with_the_release_is_measured_again(tmp_path: Path) -> None:
    clock = Clock()
    plans = PlanCache(tmp_path / "plans.json", clock)
    assert plans.find("key", never, {"key": asdict(BUSY)}) == BUSY
    clock.now += REMEASURE_SECONDS
    assert plans.find("key", lambda: FAST, {"key": asdict(BUSY)}) == FAST


def test_plans_of_earlier_versions_have_no_load(tmp_path: Path) -> None:
    stored = {name: value for name, value in asdict(FAST).items() if name != "load"}
    assert PlanCache(None).find("key", never, {"key": stored}) == FAST
