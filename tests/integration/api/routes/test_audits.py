"""Audits over HTTP, from the request to the report."""

import re
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest

from archetype.client import Client, ServiceError
from archetype.contract.api_key import NewKey, Scope
from archetype.contract.audit import AuditView, NewAudit
from archetype.contract.job import State
from archetype.contract.report.decision import NewDecision, find_valid_decision
from archetype.contract.report.document import Report
from archetype.errors import Conflict
from archetype.verification import NotVerified, verify_report
from deploy.local import Stack
from tests.support.audit_plans import write_plan
from tests.support.callers import issue_token


@pytest.fixture(scope="module")
def ended(client: Client) -> AuditView:
    """An audit of a release against itself."""
    return run(client, {"model": "shapes", "plan": write_plan(client)})


def run(client: Client, body: dict[str, Any]) -> AuditView:
    *_, audit = client.watch_audit(client.audit(NewAudit.model_validate(body)).id, timeout=400)
    assert audit.error is None
    return audit


def test_an_audit_of_a_release_against_itself_is_identical(ended: AuditView, client: Client) -> None:
    assert (ended.state, ended.verdict, ended.findings) == (State.SUCCEEDED, "pass", [])
    assert "identical" in (ended.summary or "")
    assert {member.role for member in ended.members} == {
        "subject/class_models", "subject/probes", "subject/shuffled",
        "shapes@1/class_models", "shapes@1/noise", "shapes@1/probes",
    }  # fmt: skip
    assert all(member.state is State.SUCCEEDED for member in ended.members)
    assert ended.progress.done == ended.progress.total == 7


def test_the_artifacts_of_an_audit_name_everything_that_they_were_made_of(ended: AuditView, client: Client) -> None:
    files = {artifact.name: client.fetch(artifact) for artifact in ended.artifacts}
    assert set(files) == {"report.json", "report.html", "report.pdf", "junit.xml", "report.sarif", "summary.md"}
    report = Report.model_validate_json(files["report.json"])
    assert report.comparisons[0].identical
    assert report.plan_version == ended.plan_version
    jobs = report.identity["jobs"]
    assert jobs["subject/class_models"]["provenance"]["model"]["sha256"]
    assert jobs["subject/probes"]["artifacts"]
    assert {row["target"] for row in report.comparisons[0].classes} >= {"lemon", "bee"}
    cases = ElementTree.fromstring(files["junit.xml"])
    assert cases.attrib["failures"] == "0"
    assert int(cases.attrib["tests"]) == len(cases.findall("testcase")) >= 6
    assert b"**pass**" in files["summary.md"]


def test_the_signature_of_a_report_is_valid_for_its_exact_bytes(
    ended: AuditView, client: Client, tmp_path: Path
) -> None:
    artifact = next(each for each in ended.artifacts if each.name == "report.json")
    report, key = tmp_path / "report.json", tmp_path / "key.pem"
    report.write_bytes(client.fetch(artifact))
    key.write_text(client.signing_key().public_key)
    (tmp_path / "report.json.sig").write_text(client.signature(ended.id).model_dump_json())
    assert ended.links["signature"] == f"/v1/audits/{ended.id}/signature"
    assert verify_report(report, key).report_sha256 == artifact.sha256
    report.write_bytes(report.read_bytes() + b" ")
    with pytest.raises(NotVerified, match="was changed"):
        verify_report(report, key)


def test_decisions_are_kept_with_the_digest_of_the_report(ended: AuditView, client: Client) -> None:
    digest = next(each.sha256 for each in ended.artifacts if each.name == "report.json")
    fields = {"name": "Ann Example", "reason": "the findings are known", "report_sha256": digest}
    approved = client.decide(ended.id, NewDecision.model_validate(fields | {"decision": "approve"}))
    waiver = fields | {"decision": "waive", "expires": "2099-01-01"}
    waived = client.decide(ended.id, NewDecision.model_validate(waiver))
    decisions = client.get_audit(ended.id).decisions
    assert [each.id for each in decisions] == [approved.id, waived.id]
    assert {each.report_sha256 for each in decisions} == {digest}
    assert find_valid_decision(decisions, date(2098, 1, 1)) == waived
    assert find_valid_decision(decisions, date(2099, 1, 2)) == approved


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"report_sha256": "0" * 64}, 422),
        ({"decision": "waive", "expires": "2020-01-01"}, 422),
        ({"decision": "waive"}, 422),
        ({"decision": "maybe"}, 422),
        ({"name": "  "}, 422),
    ],
)
def test_a_decision_about_another_report_or_without_its_fields_is_refused(
    ended: AuditView, stack: Stack, changes: dict[str, Any], status: int
) -> None:
    body = {"decision": "approve", "name": "Ann", "reason": "fine"} | changes
    answer = httpx2.post(f"{stack.url}/v1/audits/{ended.id}/decision", json=body, timeout=30)
    assert answer.status_code == status, answer.text


def test_a_key_that_only_reads_cannot_decide(ended: AuditView, stack: Stack, operator: Client) -> None:
    headers = {"Authorization": f"Bearer {issue_token(operator, 'default', scopes=[Scope.READ])}"}
    with httpx2.Client(base_url=stack.url, headers=headers, timeout=30) as reader:
        assert reader.get(f"/v1/audits/{ended.id}/signature").status_code == 200
        body = {"decision": "approve", "name": "Ann", "reason": "fine"}
        assert reader.post(f"/v1/audits/{ended.id}/decision", json=body).status_code == 403


def test_the_report_of_an_audit_is_one_file_that_loads_nothing(ended: AuditView, stack: Stack) -> None:
    answer = httpx2.get(f"{stack.url}/v1/audits/{ended.id}/report")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    sources = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(sources) >= 8
    assert all(source.startswith("data:image/webp") for source in sources)
    assert "<script" not in answer.text


def test_an_audit_reuses_the_jobs_of_earlier_audits(ended: AuditView, client: Client) -> None:
    plan = write_plan(client, gates={"focus": {"tolerance": 0.3}})
    stricter = run(client, {"model": "shapes", "plan": plan})
    assert stricter.id != ended.id
    assert stricter.plan_version != ended.plan_version
    first = {member.job for member in ended.members}
    assert {member.job for member in stricter.members} <= first
    other = run(client, {"model": "shapes", "plan": write_plan(client, noise_seeds=[5, 6])})
    new_roles = {member.role for member in other.members if member.job not in first}
    assert new_roles == {"shapes@1/noise"}


def test_the_same_audit_is_made_once_unless_again_is_set(ended: AuditView, client: Client) -> None:
    body = {"model": "shapes@1", "plan": write_plan(client)}
    assert client.audit(NewAudit.model_validate(body)).id == ended.id
    other = client.audit(NewAudit.model_validate(body | {"again": True}))
    assert other.id != ended.id
    client.cancel_audit(other.id)


def test_the_trend_of_a_model_has_its_releases_with_their_figures(ended: AuditView, client: Client) -> None:
    trend = client.trend("shapes")
    (point,) = trend.points
    assert (trend.model, point.release, point.verdict) == ("shapes", "1", "pass")
    assert set(point.figures) == {"accuracy", "confidence", "focus", "recognised"}
    assert point.figures["accuracy"] == 1.0
    assert 0 < point.figures["focus"] < 1
    with pytest.raises(ServiceError, match="no model"):
        client.trend("missing")


def test_audits_are_listed_by_model(ended: AuditView, client: Client) -> None:
    assert ended.id in [job.id for job in client.audits(model="shapes")]
    assert list(client.audits(model="slow")) == []


def test_an_audit_of_releases_that_cannot_be_compared_tells_why(client: Client) -> None:
    audit = run(client, {"model": "shapes", "plan": write_plan(client, probes=[]), "baselines": ["slow"]})
    assert audit.verdict == "not_comparable"
    assert "other classes" in (audit.summary or "")
    assert [member.role for member in audit.members] == ["subject/class_models"]


def test_an_audit_without_a_baseline_checks_the_release_alone(client: Client) -> None:
    audit = run(client, {"model": "shapes", "plan": write_plan(client, baselines=["previous"])})
    assert audit.baselines == []
    assert audit.verdict in ("pass", "warn")


@pytest.fixture
def under_way(client: Client) -> Iterator[AuditView]:
    plan = write_plan(client, class_models={"steps": 3000, "extras": False}, probes=[])
    audit = client.audit(NewAudit.model_validate({"model": "shapes", "plan": plan, "again": True}))
    yield audit
    client.cancel_audit(audit.id)


def test_an_audit_is_cancelled_with_all_of_its_jobs(under_way: AuditView, client: Client) -> None:
    client.cancel_audit(under_way.id)
    limit = time.monotonic() + 30
    while not all(member.state.terminal for member in client.get_audit(under_way.id).members):
        assert time.monotonic() < limit
        time.sleep(0.2)
    audit = client.get_audit(under_way.id)
    assert audit.state is State.CANCELLED
    assert {member.state for member in audit.members} == {State.CANCELLED}
    with pytest.raises(ServiceError, match="no report"):
        client.report(under_way.id)
    with pytest.raises(Conflict, match="has no report"):
        client.decide(under_way.id, NewDecision(decision="approve", name="Ann", reason="fine"))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"classes": ["lemmon"]}, "/plan/classes/0"),
        ({"seeds": [1]}, "/plan/seeds"),
        ({"noise_seeds": [1, 2]}, "/plan"),
        ({"probes": [{"id": "0" * 64, "target": "lemon"}]}, "/images/0/id"),
        ({"judges": ["missing"]}, "/params/judges/0"),
        ({"saliency": {"metrics": ["deletion"]}}, "/plan/saliency/outputs"),
        ({"waivers": [{"gate": "nothing", "owner": "a", "reason": "b", "expires": "2027-01-01"}]}, "/plan"),
    ],
)
def test_a_wrong_audit_plan_is_refused_with_the_field(client: Client, changes: dict[str, Any], field: str) -> None:
    answer = httpx2.post(
        f"{client._transport.http.base_url}/v1/audits",
        json={"model": "shapes", "plan": write_plan(client, **changes)},
        timeout=30,
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].startswith(field), answer.text


def test_an_audit_of_another_tenant_is_not_found(ended: AuditView, stack: Stack) -> None:
    assert stack.settings.operator_token is not None
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as operator:
        token = operator.issue_key(NewKey(tenant="mallory")).token
    with httpx2.Client(base_url=stack.url, headers={"Authorization": f"Bearer {token}"}) as mallory:
        for method, path in [("GET", ""), ("GET", "/report"), ("GET", "/events"), ("POST", "/cancel")]:
            assert mallory.request(method, f"/v1/audits/{ended.id}{path}").status_code == 404
        assert mallory.get("/v1/audits").json()["items"] == []


def test_a_job_is_not_an_audit_and_an_audit_cannot_be_submitted_as_a_job(ended: AuditView, stack: Stack) -> None:
    with httpx2.Client(base_url=stack.url, timeout=30) as http:
        assert http.get(f"/v1/audits/{ended.members[0].job}").status_code == 404
        body = {"method": "audit", "model": "shapes", "plan": {"name": "x"}, "baselines": []}
        assert http.post("/v1/jobs", json=body).status_code == 422
