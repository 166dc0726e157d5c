"""The plan cache: an execution plan is measured once for all workers of a machine."""

from pathlib import Path

import pytest

from worker.engine.model.autotune import ExecutionPlan
from worker.models.plan_cache import PlanCache

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
