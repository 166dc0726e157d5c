"""The report of an audit whose subject is identical to all of its baselines, so that no job has run."""

from collections.abc import Sequence
from datetime import datetime

from archetype.contract.audit import Comparison
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.report.document import Report
from archetype.contract.request import Audit
from archetype.version import VERSION
from shared.audits.identical import Identity
from shared.audits.report.conclusion import Judgement, conclude
from shared.audits.report.gate_results import ERROR_LEVEL, Sanity, list_gate_results
from shared.audits.report.plan_words import describe_plan
from shared.audits.rerun import build_rerun_command
from shared.catalogue.release import Release

REASON = "the releases are identical"


def build_identical_report(audit: Audit, subject: Release, identities: Sequence[Identity], moment: datetime) -> Report:
    """The document of the report of an audit that needs no job.

    Args:
        audit: The audit.
        subject: The audited release.
        identities: How each of its baselines is identical to it.
        moment: When the audit was accepted.
    """
    plan = audit.plan
    comparisons = [
        Comparison(baseline=each.baseline.release, identical=True, why=each.explanation) for each in identities
    ]
    gates = list_gate_results(plan, comparisons, [], Sanity(None, None))
    not_run = list_not_run(plan, subject)
    judgement = Judgement(
        "pass",
        subject.reference,
        comparisons,
        findings=[],
        gates=gates,
        accuracy=[],
        errors=[],
        plan=plan,
        not_run=not_run,
        standings=audit.standings,
        skipped=audit.skipped,
    )
    return Report(
        verdict="pass",
        summary=_summarize(subject.reference, audit.baselines),
        conclusion=conclude(judgement),
        subject=subject.reference,
        baselines=audit.baselines,
        standings=audit.standings,
        skipped=audit.skipped,
        gates=gates,
        findings=[],
        not_run=not_run,
        comparisons=comparisons,
        level=1 - ERROR_LEVEL,
        plan=plan,
        plan_version=plan.version,
        plan_in_words=describe_plan(plan),
        releases=[identities[0].subject, *(each.baseline for each in identities)],
        identity_note=" ".join(f"{each.baseline.release}: {each.explanation}." for each in identities),
        requested=audit.requested,
        seconds=max(0.0, (moment - audit.requested.at).total_seconds()) if audit.requested else None,
        identity={"version": VERSION, "probes": [probe.id for probe in plan.probes], "jobs": {}},
        rerun=build_rerun_command(audit),
        created_at=moment,
    )


def list_not_run(plan: AuditPlan, subject: Release) -> list[str]:
    """The parts of the plan that were not run, in sentences."""
    count = len(subject.resolve_targets(plan.classes))
    parts = [f"Class visualizations of {_count(count, 'class', 'classes')}"]
    if plan.probes:
        parts.append(f"Predictions and saliency maps of {_count(len(plan.probes), 'probe', 'probes')}")
    return [f"{part}: not run, because {REASON}." for part in parts]


def _summarize(subject: str, baselines: Sequence[str]) -> str:
    return f"pass: {REASON}: {subject} computes the same outputs as {' and '.join(baselines)}"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
