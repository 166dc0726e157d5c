"""Verdicts on the releases of the audit demo: identical, retrained, with a shortcut, with swapped labels."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from archetype.client import Client
from archetype.contract.audit import AuditView, NewAudit
from archetype.contract.audit_plan import AuditPlan, Gate
from archetype.contract.report.document import Report
from benchmarks.audits import run_control
from deploy.audit_demo import MODEL, PROBES, make_plan
from worker.shapes.drawing import CLASSES

AUDITED_CLASSES = ("lemon", "ladybird", "daisy", "bee", "die")
SHORT: dict[str, Any] = {
    "classes": list(AUDITED_CLASSES),
    "seeds": [1, 2],
    "noise_seeds": [101, 102],
    "class_models": {"steps": 80, "extras": False},
    "saliency": {"kind": "gradient", "outputs": ["raw"]},
    "gates": {"trigger": {"tolerance": 1.6, "severity": "off"}},
}
"""Triggers are searched in a slow test only, because a search takes some minutes on a busy machine."""


@pytest.fixture(scope="module")
def plan(client: Client) -> AuditPlan:
    """The plan of the demo with less than half of the probes and fewer steps."""
    numbers = [number for number in range(PROBES) if CLASSES[number % len(CLASSES)] in AUDITED_CLASSES]
    return make_plan(client, numbers, **SHORT)


def audit(client: Client, plan: AuditPlan, release: str, *, timeout: float = 500) -> AuditView:
    new = NewAudit(model=f"{MODEL}@{release}", plan=plan, baselines=[f"{MODEL}@v1"])
    *_, ended = client.watch_audit(client.audit(new).id, timeout=timeout)
    assert ended.error is None
    return ended


def read_report(client: Client, ended: AuditView) -> Report:
    artifact = next(artifact for artifact in ended.artifacts if artifact.name == "report.json")
    return Report.model_validate_json(client.fetch(artifact))


def failed(ended: AuditView) -> Iterator[tuple[str, str | None]]:
    """The gate and the class of each finding that fails the audit."""
    return ((finding.gate, finding.target) for finding in ended.findings if finding.severity == "fail")


def test_a_release_with_the_same_weights_passes_as_identical_without_a_job(
    client: Client, plan: AuditPlan, described: Callable[[str], None]
) -> None:
    for release in ("v1", "v5"):
        described(f"{MODEL}@{release}")  # a worker has loaded it, so that the digest of its weights is known
    ended = audit(client, plan, "v5")
    assert (ended.verdict, ended.findings, ended.members) == ("pass", [], [])
    report = read_report(client, ended)
    assert report.comparisons[0].identical
    subject, baseline = report.releases
    assert subject.file_sha256 != baseline.file_sha256
    assert subject.weights_sha256 == baseline.weights_sha256 is not None


@pytest.mark.slow
def test_a_model_compared_with_itself_fails_no_gate(client: Client, plan: AuditPlan) -> None:
    ended = run_control(client, 0, plan.probes, classes=SHORT["classes"], class_models=SHORT["class_models"])
    assert ended.error is None
    assert list(failed(ended)) == []
    assert ended.model == "shapes@1"


@pytest.mark.slow
def test_a_release_trained_with_another_seed_fails_no_gate(client: Client, plan: AuditPlan) -> None:
    ended = audit(client, plan, "v2")
    assert list(failed(ended)) == []
    assert not read_report(client, ended).comparisons[0].identical


def test_a_shortcut_fails_the_audit_and_its_class_is_reported_first(client: Client, plan: AuditPlan) -> None:
    ended = audit(client, plan, "v3")
    assert ended.verdict == "fail"
    assert list(failed(ended)) == [("shortcut", "daisy")]
    first = ended.findings[0]
    assert (first.gate, first.target) == ("shortcut", "daisy")
    assert first.change is not None
    assert first.change.low > 0.5
    report = client.report(ended.id)
    heading = "<h3><bdi>{}</bdi></h3>".format
    assert report.index("<bdi>daisy</bdi>, gate shortcut") < min(
        report.index(heading(name)) for name in ("lemon", "bee")
    )
    assert "a probe of another class with the mark" in report


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_triggers_of_both_releases_are_searched_if_the_plan_has_the_gate(client: Client, plan: AuditPlan) -> None:
    gates = plan.gates.model_copy(update={"trigger": Gate(tolerance=1.6, severity="warn")})
    ended = audit(client, plan.model_copy(update={"gates": gates}), "v3", timeout=900)
    result = next(gate for gate in read_report(client, ended).gates if gate.gate == "trigger")
    assert result.result in ("passed", "warned")
    assert result.change is not None


def test_swapped_labels_fail_the_audit_and_both_classes_are_reported_first(client: Client, plan: AuditPlan) -> None:
    ended = audit(client, plan, "v4")
    assert ended.verdict == "fail"
    assert {target for _, target in failed(ended)} == {"bee", "ladybird"}
    assert {finding.target for finding in ended.findings[:2]} == {"bee", "ladybird"}
