"""Composes the document of a report from the results of an audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from archetype.contract.audit import Comparison, Finding
from archetype.contract.report.document import Machine, Report
from archetype.contract.report.measurements import Accuracy
from archetype.contract.request import Audit
from shared.audits.report.conclusion import Judgement, conclude, recommend_action
from shared.audits.report.gate_results import Sanity, list_gate_results
from shared.audits.report.plan_words import describe_plan
from shared.audits.rerun import build_rerun_command
from worker.audit.compare import Side
from worker.audit.gates import decide_verdict, summarize
from worker.audit.maps.faithfulness import MapPlan
from worker.audit.maps.probe_maps import list_probes as list_boxed_probes
from worker.audit.provenance import describe_provenance
from worker.audit.release_figures import compute_figures
from worker.audit.report.accuracy import measure_accuracy, measure_calibration
from worker.audit.report.changes import show_changes
from worker.audit.report.evidence import show_classes
from worker.audit.report.identity import describe_release, explain_identity
from worker.audit.report.material import Material
from worker.audit.report.probe_gallery import list_probes
from worker.audit.report.tables import show_tables
from worker.audit.statistics import LEVEL
from worker.job.member_results import MemberResults


@dataclass(frozen=True)
class Results:
    """The results of an audit.

    Attributes:
        comparisons: The comparisons with the baselines.
        findings: All findings, most severe first, with their waivers.
        errors: Parts that could not be evaluated.
        maps: How the probes are mapped, and how faithful the maps are.
        members: The results of the member jobs, for the provenance.
        not_run: Parts of the plan that were not run because the subject is identical to all baselines.
    """

    comparisons: Sequence[Comparison]
    findings: Sequence[Finding]
    errors: Sequence[str]
    maps: MapPlan
    members: MemberResults
    not_run: Sequence[str] = ()


def compose_report(audit: Audit, results: Results, material: Material, now: datetime) -> Report:
    """The document of the report."""
    plan, subject = audit.plan, material.subject
    findings = [each.model_copy(update={"action": recommend_action(each)}) for each in results.findings]
    comparisons, errors = list(results.comparisons), list(results.errors)
    verdict = decide_verdict(findings, comparisons, errors)
    gates = list_gate_results(plan, comparisons, findings, measure_sanity(subject, results.maps.correlations))
    accuracy = measure_all_accuracies(material)
    judgement = Judgement(
        verdict,
        subject.release.reference,
        comparisons,
        findings,
        gates=gates,
        accuracy=accuracy,
        errors=errors,
        plan=plan,
        not_run=results.not_run,
        standings=audit.standings,
        skipped=audit.skipped,
    )
    probes = list_probes(plan, material)
    identity = describe_provenance(results.members, audit)
    releases = [describe_release(side, _find_file_digest(side, identity)) for side in material.sides]
    return Report(
        verdict=verdict,
        summary=summarize(verdict, findings, comparisons, errors),
        conclusion=conclude(judgement),
        subject=subject.release.reference,
        baselines=audit.baselines,
        standings=audit.standings,
        skipped=audit.skipped,
        gates=gates,
        accuracy=accuracy,
        calibration=[each for each in map(measure_calibration, material.sides) if each is not None],
        findings=findings,
        errors=errors,
        not_run=list(results.not_run),
        maps=results.maps.faithfulness,
        evidence=[*show_classes(material, findings), *show_changes(material, comparisons, findings)],
        comparisons=comparisons,
        tables=show_tables(comparisons, subject.release.reference, results.maps.faithfulness),
        probes=probes,
        probes_left_out=len(subject.looks) - len(probes),
        figures=compute_figures(subject, list_boxed_probes(plan, results.maps)),
        level=1 - LEVEL,
        plan=plan,
        plan_version=plan.version,
        plan_in_words=describe_plan(plan),
        releases=releases,
        identity_note=explain_identity(releases),
        requested=audit.requested,
        machines=list_machines(identity["jobs"]),
        seconds=(now - audit.requested.at).total_seconds() if audit.requested else None,
        identity=identity,
        rerun=build_rerun_command(audit),
        created_at=now,
    )


def measure_sanity(subject: Side, correlations: Sequence[float]) -> Sanity:
    """How far the audit itself can be trusted."""
    ranks = [model.verdict["rank"] for series in subject.models.values() for model in series]
    return Sanity(
        missed=float(np.mean([rank != 1 for rank in ranks])) if ranks else None,
        correlation=float(np.mean(correlations)) if correlations else None,
    )


def measure_all_accuracies(material: Material) -> list[Accuracy]:
    """The accuracy of the subject and of each baseline that has predictions."""
    return [each for each in map(measure_accuracy, material.sides) if each is not None]


def list_machines(jobs: Mapping[str, Mapping[str, Any]]) -> list[Machine]:
    """The devices and versions of the jobs, each with the roles of the jobs that ran there."""
    machines: dict[tuple[Any, ...], Machine] = {}
    for role, job in jobs.items():
        provenance = job.get("provenance") or {}
        for maker in provenance.get("made_with", [provenance]):
            device = str(maker.get("device", provenance.get("device", "unknown")))
            versions = {name: str(value) for name, value in provenance.get("versions", {}).items()}
            key = (device, *sorted(versions.items()))
            known = machines.get(key, Machine(device=device, versions=versions, roles=[]))
            machines[key] = known.model_copy(update={"roles": [*known.roles, role]})
    return list(machines.values())


def _find_file_digest(side: Side, identity: Mapping[str, Any]) -> str | None:
    """Digest of the weight file of a release, as its jobs recorded it."""
    for job in identity["jobs"].values():
        model = (job.get("provenance") or {}).get("model", {})
        if model.get("reference") == side.release.reference:
            return str(model["sha256"]) if model.get("sha256") else None
    return None
