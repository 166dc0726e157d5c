"""The verdicts on five releases: the same, trained anew, with a planted shortcut, with swapped labels."""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.audits import try_control
from deploy.audit_demo import MODEL, PROBES, make_plan
from shared.audits import AuditView, NewAudit, Report
from shared.client import Client
from shared.parameters.audit import Plan
from worker.shapes.drawing import CLASSES

LOOKED_AT = ("lemon", "ladybird", "daisy", "bee", "die")
SHORT: dict[str, Any] = {
    "classes": list(LOOKED_AT), "seeds": [1, 2], "noise_seeds": [101, 102],
    "class_models": {"steps": 80, "extras": False}, "saliency": {"kind": "gradient", "outputs": ["raw"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def plan(client: Client) -> Plan:
    """Under half of the demo's pictures, and shorter ascents."""
    numbers = [number for number in range(PROBES) if CLASSES[number % len(CLASSES)] in LOOKED_AT]
    return make_plan(client, numbers, **SHORT)


def audit(client: Client, plan: Plan, release: str) -> AuditView:
    new = NewAudit(model=f"{MODEL}@{release}", plan=plan, baselines=[f"{MODEL}@v1"])
    *_, ended = client.watch_audit(client.audit(new).id, timeout=240)
    assert ended.error is None
    return ended


def read_report(client: Client, ended: AuditView) -> Report:
    artifact = next(one for one in ended.artifacts if one.name == "report.json")
    return Report.model_validate_json(client.fetch(artifact))


def failed(ended: AuditView) -> Iterator[tuple[str, str | None]]:
    return ((one.gate, one.target) for one in ended.findings if one.severity == "fail")


def test_the_same_weights_in_another_file_are_identical(client: Client, plan: Plan) -> None:
    ended = audit(client, plan, "v5")
    assert (ended.verdict, ended.findings) == ("pass", [])
    report = read_report(client, ended)
    assert report.comparisons[0].identical
    jobs = report.identity["jobs"]
    ours, theirs = (jobs[role]["provenance"]["model"] for role in ("subject/probes", f"{MODEL}@v1/probes"))
    assert ours["sha256"] != theirs["sha256"]


def test_the_null_control_fails_no_gate(client: Client, plan: Plan) -> None:
    ended = try_control(client, 0, plan.probes, classes=SHORT["classes"], class_models=SHORT["class_models"])
    assert ended.error is None
    assert list(failed(ended)) == []
    assert ended.model == "shapes@1"


def test_another_seed_fails_no_gate(client: Client, plan: Plan) -> None:
    ended = audit(client, plan, "v2")
    assert list(failed(ended)) == []
    assert not read_report(client, ended).comparisons[0].identical


def test_a_planted_shortcut_is_caught_with_its_class_at_the_top(client: Client, plan: Plan) -> None:
    ended = audit(client, plan, "v3")
    assert ended.verdict == "fail"
    assert list(failed(ended)) == [("shortcut", "daisy")]
    first = ended.findings[0]
    assert (first.gate, first.target) == ("shortcut", "daisy")
    assert first.change is not None
    assert first.change.low > 0.5
    report = client.report(ended.id)
    assert report.index("<h3>daisy</h3>") < min(report.index(f"<h3>{name}</h3>") for name in ("lemon", "bee"))
    assert "where the subject sees the class in it" in report


def test_swapped_labels_are_caught_with_both_classes_at_the_top(client: Client, plan: Plan) -> None:
    ended = audit(client, plan, "v4")
    assert ended.verdict == "fail"
    assert {target for _, target in failed(ended)} == {"bee", "ladybird"}
    assert {finding.target for finding in ended.findings[:2]} == {"bee", "ladybird"}
