"""From what was measured to a verdict."""

from datetime import date

import numpy as np
import pytest

from shared.audits import Comparison, Finding, Measured
from shared.parameters.audit import Gate, Gates, Plan, Waiver
from worker.audit.compare import ClassRow
from worker.audit.gates import decide, find_in_all, find_in_classes, is_too_much, sum_up, waive

PLAN = Plan(name="p")
TODAY = date(2026, 11, 21)


def row(name: str, gate: str, value: float, low: float) -> ClassRow:
    return ClassRow(0, name, changes={gate: Measured(value=value, low=low, high=value + 0.1)}, noise={gate: 0.01})


@pytest.mark.parametrize(
    ("value", "low", "noise", "found"),
    [(0.3, 0.2, 0.1, True), (0.3, 0.05, 0.1, False), (0.2, 0.15, 0.1, False), (-0.9, -1.0, 0.0, False)],
)
def test_a_change_must_be_large_and_sure(value: float, low: float, noise: float, found: bool) -> None:
    change = Measured(value=value, low=low, high=1)
    assert is_too_much(change, Gate(tolerance=0.25), noise) is found
    assert not is_too_much(change, Gate(tolerance=0.01, severity="off"), 0.0)


def test_the_worst_comes_first_and_warnings_last() -> None:
    rows = [row("a", "appearance", 9, 8), row("b", "shortcut", 0.5, 0.4), row("c", "shortcut", 0.9, 0.8)]
    found = waive(find_in_classes(rows, PLAN, "m@1"), [], ["a", "b", "c"], TODAY)
    assert [(one.severity, one.target) for one in found] == [("fail", "c"), ("fail", "b"), ("warn", "a")]
    assert "90% more pictures of other classes into c" in found[0].reason
    assert decide(found, [Comparison(baseline="m@1")], []) == "fail"


def test_a_class_is_named_that_only_the_baseline_is_sure_of() -> None:
    unsure = ClassRow(0, "bee", figures={"subject_arrived": 1, "baseline_arrived": 3})
    both = ClassRow(1, "die", figures={"subject_arrived": 0, "baseline_arrived": 1})
    rows = [unsure, both, ClassRow(2, "lemon")]
    (found,) = find_in_classes(rows, PLAN, "m@1")
    assert (found.gate, found.severity, found.target) == ("sanity", "warn", "bee")
    assert "sure of 1 of its class models of bee" in found.reason
    off = Plan(name="p", gates=Gates(sanity=Gate(tolerance=0.5, severity="off")))
    assert find_in_classes(rows, off, "m@1") == []


@pytest.mark.parametrize(
    ("changes", "waived"),
    [({}, True), ({"target": "b"}, True), ({"target": 1}, True), ({"target": "a"}, False), ({"gate": "focus"}, False),
     ({"expires": date(2026, 11, 20)}, False), ({"expires": TODAY}, True)],
)  # fmt: skip
def test_a_waiver_covers_what_it_names_until_it_expires(changes: dict, waived: bool) -> None:
    said = {"gate": "shortcut", "owner": "ann", "reason": "known", "expires": date(2027, 1, 1)} | changes
    found = waive(find_in_classes([row("b", "shortcut", 0.5, 0.4)], PLAN, "m@1"), [Waiver(**said)], ["a", "b"], TODAY)
    assert (found[0].severity == "waived") is waived
    assert decide(found, [Comparison(baseline="m@1")], []) == ("pass" if waived else "fail")


def test_being_wrong_more_often_is_found_on_all_probes_together() -> None:
    plan = Plan(name="p", gates=Gates(accuracy=Gate(tolerance=0.02)))
    assert find_in_all(np.zeros(100), plan, "m@1") == []
    assert find_in_all(np.array([]), plan, "m@1") == []
    found = find_in_all(np.array([1.0] * 12 + [0.0] * 88), plan, "m@1")
    assert [one.gate for one in found] == ["accuracy"]


def test_the_verdict_says_what_stands_in_its_way() -> None:
    warning = Finding(gate="focus", severity="warn", reason="less of it")
    apart = Comparison(baseline="m@1", comparable=False, why="their inputs are 80 x 80 and 32 x 32 pixels")
    same = Comparison(baseline="m@1")
    assert decide([], [], []) == "pass"
    assert decide([warning], [same], []) == "warn"
    assert decide([warning], [same], ["a job failed"]) == "error"
    assert decide([], [apart], []) == "not_comparable"
    assert decide([], [apart, same], []) == "pass"
    assert "32 x 32" in sum_up("not_comparable", [], [apart], [])
    assert "identical" in sum_up("pass", [], [Comparison(baseline="m@1", identical=True)], [])
