"""Plans are remembered."""

from pathlib import Path

import pytest

from worker.engine.plan import Plan
from worker.plans import Plans

FAST, SLOW = Plan("bfloat16", 32, 1.0), Plan("float32", 8, 2.0)


def never() -> Plan:
    raise AssertionError("it was measured before")


def test_a_plan_is_measured_once_for_all_processes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "plans.json"
    first = Plans(path)
    assert first.find("one", lambda: FAST) == FAST
    assert first.find("one", never) == FAST
    assert Plans(path).find("one", never) == FAST
    assert Plans(path).find("two", lambda: SLOW) == SLOW
    assert Plans(path).find("one", never) == FAST


def test_of_two_measurements_at_the_same_time_the_first_counts(tmp_path: Path) -> None:
    one, two = Plans(tmp_path / "plans.json"), Plans(tmp_path / "plans.json")

    def measured_by_another_meanwhile() -> Plan:
        two.find("key", lambda: SLOW)
        return FAST

    assert one.find("key", measured_by_another_meanwhile) == SLOW


@pytest.mark.parametrize("content", ["", "[]", '{"key": {"batch": 3}}', "{"])
def test_a_broken_file_is_measured_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plans.json"
    path.write_text(content)
    assert Plans(path).find("key", lambda: FAST) == FAST
    assert Plans(path).find("key", never) == FAST


def test_without_a_file_a_process_remembers_for_itself() -> None:
    plans = Plans(None)
    assert [plans.find("key", lambda: FAST), plans.find("key", never)] == [FAST, FAST]
