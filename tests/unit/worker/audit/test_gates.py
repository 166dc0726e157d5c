"""Gates turn measured changes into findings and a verdict."""

from datetime import date

import numpy as np
import pytest

from archetype.contract.audit import Comparison, Estimate, Finding
from archetype.contract.audit_plan import AuditPlan, Gate, Gates, Waiver
from archetype.contract.class_names import ClassNames
from archetype.contract.report.standing import Standing
from worker.audit.compare import ClassRow
from worker.audit.gates import (
    apply_waivers,
    check_accuracy,
    check_baselines,
    check_classes,
    decide_verdict,
    exceeds_gate,
    summarize,
)

PLAN = AuditPlan(name="p")
TODAY = date(2026, 11, 21)


def row(name: str, gate: str, value: float, low: float) -> ClassRow:
    return ClassRow(0, name, changes={gate: Estimate(value=value, low=low, high=value + 0.1)}, noise={gate: 0.01})


@pytest.mark.parametrize(
    ("value", "low", "noise", "exceeds"),
    [(0.3, 0.2, 0.1, True), (0.3, 0.05, 0.1, False), (0.2, 0.15, 0.1, False), (-0.9, -1.0, 0.0, False)],
)
def test_a_change_exceeds_a_gate_if_it_is_large_and_its_interval_exceeds_the_noise(
    value: float, low: float, noise: float, exceeds: bool
) -> None:
    change = Estimate(value=value, low=low, high=1)
    assert exceeds_gate(change, Gate(tolerance=0.25), noise) is exceeds
    assert not exceeds_gate(change, Gate(tolerance=0.01, severity="off"), 0.0)


def test_findings_are_sorted_by_severity_and_size() -> None:
    rows = [row("a", "appearance", 9, 8), row("b", "shortcut", 0.5, 0.4), row("c", "shortcut", 0.9, 0.8)]
    findings = apply_waivers(check_classes(rows, PLAN, "m@1"), [], ClassNames(["a", "b", "c"]), TODAY)
    assert [(finding.severity, finding.target) for finding in findings] == [("fail", "c"), ("fail", "b"), ("warn", "a")]
    assert "90 percentage points more probes of other classes to c" in findings[0].reason
    assert decide_verdict(findings, [Comparison(baseline="m@1")], []) == "fail"


def test_a_class_that_recognition_cannot_evaluate_is_a_sanity_finding() -> None:
    unsure = ClassRow(0, "bee", figures={"subject_arrived": 1, "baseline_arrived": 3})
    both = ClassRow(1, "die", figures={"subject_arrived": 0, "baseline_arrived": 1})
    rows = [unsure, both, ClassRow(2, "lemon")]
    (finding,) = check_classes(rows, PLAN, "m@1")
    assert (finding.gate, finding.severity, finding.target) == ("sanity", "warn", "bee")
    assert "cannot evaluate bee: the subject reaches its usual probability on 1 of its class models" in finding.reason
    off = AuditPlan(name="p", gates=Gates(sanity=Gate(tolerance=0.5, severity="off")))
    assert check_classes(rows, off, "m@1") == []


@pytest.mark.parametrize(
    ("changes", "waived"),
    [
        ({}, True),
        ({"target": "b"}, True),
        ({"target": 1}, True),
        ({"target": " B "}, True),
        ({"target": "a"}, False),
        ({"gate": "focus"}, False),
        ({"expires": date(2026, 11, 20)}, False),
        ({"expires": TODAY}, True),
    ],
)
def test_a_waiver_covers_what_it_names_until_it_expires(changes: dict, waived: bool) -> None:
    waiver = {"gate": "shortcut", "owner": "ann", "reason": "known", "expires": date(2027, 1, 1)} | changes
    found = check_classes([row("b", "shortcut", 0.5, 0.4)], PLAN, "m@1")
    findings = apply_waivers(found, [Waiver(**waiver)], ClassNames(["a", "b"]), TODAY)
    assert (findings[0].severity == "waived") is waived
    assert decide_verdict(findings, [Comparison(baseline="m@1")], []) == ("pass" if waived else "fail")


def test_a_waiver_covers_one_of_two_classes_with_the_same_name() -> None:
    classes = ClassNames(["crane", "crane"])
    rows = [row(classes.label(index), "shortcut", 0.5, 0.4) for index in (0, 1)]
    waiver = Waiver(gate="shortcut", target=1, owner="ann", reason="known", expires=TODAY)
    findings = apply_waivers(check_classes(rows, PLAN, "m@1"), [waiver], classes, TODAY)
    assert {finding.target: finding.severity for finding in findings} == {"crane #0": "fail", "crane #1": "waived"}


def test_a_fall_of_the_accuracy_on_all_probes_is_a_finding() -> None:
    plan = AuditPlan(name="p", gates=Gates(accuracy=Gate(tolerance=0.02)))
    assert check_accuracy(np.zeros(100), plan, "m@1") == []
    assert check_accuracy(np.array([]), plan, "m@1") == []
    findings = check_accuracy(np.array([1.0] * 12 + [0.0] * 88), plan, "m@1")
    assert [finding.gate for finding in findings] == ["accuracy"]


def test_shortcuts_come_before_other_findings_of_the_same_severity() -> None:
    def find(gate: str, severity: str, value: float) -> Finding:
        change = Estimate(value=value, low=value, high=value)
        return Finding(gate=gate, severity=severity, target="a", change=change, tolerance=1, reason=gate)

    found = [
        find("shortcut", "warn", 9), find("confidence", "fail", 8), find("trigger", "fail", 2),
        find("shortcut", "fail", 3),
    ]  # fmt: skip
    ordered = apply_waivers(found, [], ClassNames(["a"]), TODAY)
    assert [(each.gate, each.severity) for each in ordered] == [
        ("shortcut", "fail"), ("trigger", "fail"), ("confidence", "fail"), ("shortcut", "warn"),
    ]  # fmt: skip


def test_the_verdict_follows_from_findings_comparisons_and_errors() -> None:
    warning = Finding(gate="focus", severity="warn", reason="less of it")
    apart = Comparison(baseline="m@1", comparable=False, why="their inputs are 80 x 80 and 32 x 32 pixels")
    same = Comparison(baseline="m@1")
    assert decide_verdict([], [], []) == "pass"
    assert decide_verdict([warning], [same], []) == "warn"
    assert decide_verdict([warning], [same], ["a job failed"]) == "error"
    assert decide_verdict([], [apart], []) == "not_comparable"
    assert decide_verdict([], [apart, same], []) == "pass"
    assert "32 x 32" in summarize("not_comparable", [], [apart], [])
    assert "identical" in summarize("pass", [], [Comparison(baseline="m@1", identical=True)], [])


def test_a_baseline_that_failed_its_audit_is_a_finding() -> None:
    standings = [
        Standing(release="m@1", audit="a1", verdict="fail"),
        Standing(release="m@2", audit="a2", verdict="pass"),
        Standing(release="m@3"),
    ]
    (finding,) = check_baselines(standings, PLAN.gates)
    assert (finding.gate, finding.severity, finding.baseline, finding.target) == ("sanity", "warn", "m@1", None)
    assert finding.reason == "m@1 failed its audit a1; a comparison does not find faults that both releases have"
    assert check_baselines(standings, Gates(sanity=Gate(tolerance=0.5, severity="off"))) == []
