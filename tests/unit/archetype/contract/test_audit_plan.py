"""Audit plans: what may be left out."""

import pytest

from archetype.contract.audit_plan import AuditPlan, Gates


@pytest.mark.parametrize("name", Gates.model_fields)
def test_a_gate_is_switched_off_without_a_tolerance(name: str) -> None:
    plan = AuditPlan.model_validate({"name": "x", "gates": {name: {"severity": "off"}}})
    gate, default = getattr(plan.gates, name), getattr(Gates(), name)
    assert (gate.severity, gate.tolerance) == ("off", default.tolerance)
    others = {each: getattr(plan.gates, each) for each in Gates.model_fields if each != name}
    assert all(gate == getattr(Gates(), each) for each, gate in others.items())


def test_a_gate_with_a_tolerance_alone_fails_as_before() -> None:
    plan = AuditPlan.model_validate({"name": "x", "gates": {"focus": {"tolerance": 0.3}}})
    assert (plan.gates.focus.severity, plan.gates.focus.tolerance) == ("fail", 0.3)


@pytest.mark.parametrize("name", Gates.model_fields)
def test_an_empty_gate_has_its_default_values(name: str) -> None:
    plan = AuditPlan.model_validate({"name": "x", "gates": {name: {}}})
    assert plan.gates == Gates()


def test_the_schema_requires_no_tolerance() -> None:
    assert "required" not in AuditPlan.model_json_schema()["$defs"]["Gate"]
