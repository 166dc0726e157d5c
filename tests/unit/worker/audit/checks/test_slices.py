"""The accuracy of each slice that a plan declares is compared by itself."""

import numpy as np
import pytest
from pydantic import ValidationError

from archetype.contract.audit_plan import AuditPlan
from worker.audit.checks.slices import check_slices, measure_slices
from worker.job.member_results import ProbePrediction, ProbePredictions

EMPTY = np.zeros((1, 1), np.float32)


def make_plan(lights: list[str], **more: object) -> AuditPlan:
    probes = [
        {"id": f"{number:064x}", "target": 0, "attributes": {"light": light} if light else {}}
        for number, light in enumerate(lights)
    ]
    return AuditPlan.model_validate({"name": "sliced", "probes": probes, "slices": ["light"]} | more)


def predict(plan: AuditPlan, wrong: set[int]) -> ProbePredictions:
    return {
        probe.id: ProbePrediction(probe.id, 0, {"rank": 2 if number in wrong else 1}, EMPTY, EMPTY)
        for number, probe in enumerate(plan.probes)
    }


def test_a_fall_on_one_slice_is_found_although_the_rest_is_unchanged() -> None:
    plan = make_plan(["day"] * 40 + ["night"] * 20)
    rows = measure_slices(plan, predict(plan, set(range(40, 52))), predict(plan, set()))
    assert [(row.value, row.probes, row.subject.value, row.baseline.value) for row in rows] == [
        ("day", 40, 1.0, 1.0),
        ("night", 20, 0.4, 1.0),
    ]
    (finding,) = check_slices(rows, plan, "m@1")
    assert (finding.gate, finding.severity, finding.target) == ("slices", "fail", None)
    assert "light = night fell by 60.0 percentage points, from 20 to 8 of 20 probes" in finding.reason


def test_a_fall_within_chance_or_on_few_probes_is_no_finding() -> None:
    plan = make_plan(["day"] * 20 + ["night"] * 4 + [""])
    rows = measure_slices(plan, predict(plan, {0, 20, 21, 22, 23}), predict(plan, set()))
    assert [row.fall is None for row in rows] == [False, True]
    assert check_slices(rows, plan, "m@1") == []


def test_a_disabled_gate_finds_nothing() -> None:
    plan = make_plan(["night"] * 20, gates={"slices": {"tolerance": 0.05, "severity": "off"}})
    assert check_slices(measure_slices(plan, predict(plan, set(range(20))), predict(plan, set())), plan, "m@1") == []


def test_a_slice_that_no_probe_belongs_to_is_refused() -> None:
    with pytest.raises(ValidationError, match="no probe has the attribute 'light'"):
        make_plan(["", ""])
