"""The results of a baseline are computed once: audits of other subjects use them, and reach the same verdict."""

from itertools import count
from typing import Any

import pytest

from archetype.client import Client
from archetype.contract.audit import AuditView, NewAudit
from archetype.contract.report.document import Report
from deploy.audit_demo import MODEL, upload_probe

SEEDS = count(7000, 10)


@pytest.fixture
def plan(client: Client) -> dict[str, Any]:
    """A plan whose jobs no other test has run."""
    seed = next(SEEDS)
    return {
        "name": "known",
        "classes": ["lemon", "bee"],
        "seeds": [seed, seed + 1],
        "noise_seeds": [seed + 2, seed + 3],
        "baselines": [f"{MODEL}@v1"],
        "probes": [upload_probe(client, number).model_dump(mode="json") for number in range(4)],
        "class_models": {"steps": 4, "extras": False},
        "saliency": {"kind": "gradient", "outputs": ["raw"]},
    }


def run(client: Client, plan: dict[str, Any], release: str, **more: Any) -> AuditView:
    new = NewAudit.model_validate({"model": f"{MODEL}@{release}", "plan": plan} | more)
    *_, ended = client.watch_audit(client.audit(new).id, timeout=400)
    assert ended.error is None
    return ended


def list_members(audit: AuditView) -> dict[str, str]:
    return {member.role: member.job for member in audit.members}


def read_report(client: Client, audit: AuditView) -> Report:
    artifact = next(artifact for artifact in audit.artifacts if artifact.name == "report.json")
    return Report.model_validate_json(client.fetch(artifact))


def test_the_second_audit_against_a_baseline_submits_none_of_its_jobs(client: Client, plan: dict[str, Any]) -> None:
    first, second = run(client, plan, "v2"), run(client, plan, "v4")
    shared = set(list_members(first).items()) & set(list_members(second).items())
    assert {role for role, _ in shared} == {f"{MODEL}@v1/{part}" for part in ("class_models", "noise", "probes")}
    report = read_report(client, second)
    reused = {role: job["reused"] for role, job in report.identity["jobs"].items()}
    assert {role for role, is_reused in reused.items() if is_reused} == {role for role, _ in shared}
    assert "(reused)" in client.report(second.id)
    fresh = run(client, plan, "v4", again=True)
    assert not set(list_members(fresh).values()) & set(list_members(second).values())
    computed = read_report(client, fresh)
    assert (computed.verdict, computed.findings) == (report.verdict, report.findings)
    assert computed.comparisons == report.comparisons


def test_the_jobs_of_a_subject_are_those_of_the_next_baseline(client: Client, plan: dict[str, Any]) -> None:
    first = list_members(run(client, plan, "v2"))
    second = list_members(run(client, plan, "v4", baselines=[f"{MODEL}@v2"]))
    for part in ("class_models", "probes"):
        assert second[f"{MODEL}@v2/{part}"] == first[f"subject/{part}"]


def test_a_result_that_was_deleted_is_computed_again(client: Client, plan: dict[str, Any]) -> None:
    first = list_members(run(client, plan, "v2"))
    client.delete(first[f"{MODEL}@v1/noise"])
    second = list_members(run(client, plan, "v4"))
    assert second[f"{MODEL}@v1/class_models"] == first[f"{MODEL}@v1/class_models"]
    assert second[f"{MODEL}@v1/noise"] != first[f"{MODEL}@v1/noise"]
