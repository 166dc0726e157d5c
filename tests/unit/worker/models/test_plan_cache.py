"""The plan cache: a network starts with any plan; the fastest is measured once for all workers of a machine."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from worker.engine.model.plan.execution_plan import ExecutionPlan
from worker.models.plan_cache import FIRST_SECONDS, NEXT_SECONDS, PlanCache

FAST, SLOW = ExecutionPlan("bfloat16", 32, 1.0), ExecutionPlan("float32", 8, 2.0)
BUSY = replace(SLOW, load=1.0)


def never() -> ExecutionPlan:
    raise AssertionError("the plan was measured twice")


def test_a_plan_is_measured_once_for_all_processes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "plans.json"
    first = PlanCache(path)
    assert first.find("one") is None
    assert first.measure("one", lambda: FAST) == FAST
    assert [first.find("one"), PlanCache(path).find("one")] == [FAST, FAST]
    assert PlanCache(path).find("two") is None
    assert PlanCache(path).measure("one", never) == FAST


def test_a_plan_is_measured_after_the_network_was_in_use_for_a_while() -> None:
    plans = PlanCache(None)
    assert not plans.is_due("key")
    assert plans.is_due("key", FIRST_SECONDS)
    plans.note_use("key", FIRST_SECONDS - 1)
    plans.note_use("other", FIRST_SECONDS)
    assert [plans.is_due("key"), plans.is_due("key", 1)] == [False, True]
    plans.measure("key", lambda: FAST)
    assert not plans.is_due("key", 1000 * NEXT_SECONDS)


def test_two_processes_of_a_machine_do_not_measure_at_the_same_time(tmp_path: Path) -> None:
    one, two = PlanCache(tmp_path / "plans.json"), PlanCache(tmp_path / "plans.json")

    def measure_while_another_worker_tries() -> ExecutionPlan:
        assert two.measure("key", never) is None
        assert not two.is_due("key", FIRST_SECONDS)
        return FAST

    assert one.measure("key", measure_while_another_worker_tries) == FAST
    assert two.find("key") == FAST


@pytest.mark.parametrize("content", ["", "[]", '{"key": {"batch": 3}}', "{"])
def test_a_broken_plan_file_is_replaced_by_new_measurements(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plans.json"
    path.write_text(content)
    assert PlanCache(path).find("key") is None
    assert PlanCache(path).measure("key", lambda: FAST) == FAST
    assert PlanCache(path).find("key") == FAST


def test_plans_are_kept_in_the_process_if_the_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plans = PlanCache(tmp_path / "file" / "plans.json")
    assert [plans.measure("key", lambda: FAST), plans.find("key")] == [FAST, FAST]


def test_a_plan_cache_without_a_file_remembers_plans_in_the_process() -> None:
    plans = PlanCache(None)
    assert [plans.measure("key", lambda: FAST), plans.find("key")] == [FAST, FAST]


def test_a_plan_that_was_measured_on_a_busy_machine_is_used_and_measured_again_later(tmp_path: Path) -> None:
    plans = PlanCache(tmp_path / "plans.json")
    assert [plans.measure("key", lambda: BUSY), plans.find("key")] == [BUSY, BUSY]
    assert [plans.is_due("key", NEXT_SECONDS - 1), plans.is_due("key", NEXT_SECONDS)] == [False, True]
    assert plans.measure("key", lambda: FAST) == FAST
    assert not plans.is_due("key", 10 * NEXT_SECONDS)
    assert PlanCache(tmp_path / "plans.json").find("key") == FAST


@pytest.mark.parametrize("path", [None, "plans.json"])
def test_a_machine_that_stays_busy_is_measured_ever_less_often(tmp_path: Path, path: str | None) -> None:
    plans, moments = PlanCache(tmp_path / path if path else None), list[int]()
    for moment in range(1000):
        plans.note_use("key", 1)
        if plans.is_due("key"):
            moments.append(moment + 1)
            plans.measure("key", lambda: replace(BUSY, load=1.0 + len(moments)))
    assert moments == [20, 140, 380, 860]
    plan = plans.find("key")
    assert plan is not None
    assert plan.load == 2.0


def test_a_measurement_that_fails_is_not_repeated_at_every_job() -> None:
    plans = PlanCache(None)

    def fail() -> ExecutionPlan:
        raise RuntimeError("the network fails at random")

    with pytest.raises(RuntimeError):
        plans.measure("key", fail)
    assert [plans.is_due("key", FIRST_SECONDS), plans.is_due("key", NEXT_SECONDS)] == [False, True]


def test_a_better_plan_of_another_worker_is_used_without_a_measurement(tmp_path: Path) -> None:
    path = tmp_path / "plans.json"
    one, two = PlanCache(path), PlanCache(path)
    assert [one.measure("key", lambda: BUSY), two.find("key")] == [BUSY, BUSY]
    assert one.measure("key", lambda: FAST) == FAST
    assert two.find("key") == FAST


def test_a_plan_that_a_busy_worker_stored_with_the_release_is_measured_again(tmp_path: Path) -> None:
    plans = PlanCache(tmp_path / "plans.json")
    assert plans.find("key", {"key": asdict(BUSY)}) == BUSY
    assert [plans.is_due("key", FIRST_SECONDS), plans.is_due("key", NEXT_SECONDS)] == [False, True]
    assert plans.measure("key", lambda: FAST) == FAST
    assert plans.find("key", {"key": asdict(BUSY)}) == FAST


def test_plans_of_earlier_versions_have_no_load(tmp_path: Path) -> None:
    stored = {name: value for name, value in asdict(FAST).items() if name != "load"}
    assert PlanCache(None).find("key", {"key": stored}) == FAST
