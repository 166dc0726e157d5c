"""The report of an audit whose subject is identical to all of its baselines, so that no job has run."""

from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from typing import Any
from xml.etree import ElementTree

from jinja2 import Environment, StrictUndefined

from archetype.contract.audit import Comparison, Report
from archetype.contract.audit_plan import AuditPlan, Gates
from archetype.contract.request import Audit
from archetype.version import VERSION
from shared.audits.identical import Identity
from shared.audits.rerun import build_rerun_command
from shared.catalogue.release import Release

REASON = "the releases are identical"

MEDIA_TYPES = {
    "report.json": "application/json",
    "report.html": "text/html",
    "junit.xml": "application/xml",
    "summary.md": "text/markdown",
}
"""The files of the report."""


def build_identical_report(audit: Audit, subject: Release, identities: Sequence[Identity], moment: datetime) -> Report:
    """The report of an audit that needs no job.

    Args:
        audit: The audit.
        subject: The audited release.
        identities: How each of its baselines is identical to it.
        moment: When the audit was accepted.
    """
    plan = audit.plan
    return Report(
        verdict="pass",
        subject=subject.reference,
        baselines=audit.baselines,
        plan=plan,
        plan_version=plan.version,
        findings=[],
        comparisons=[
            Comparison(baseline=identity.baseline, identical=True, why=identity.explanation, digests=identity.digests)
            for identity in identities
        ],
        not_run=list_not_run(plan, subject),
        identity={"version": VERSION, "probes": [probe.id for probe in plan.probes], "jobs": {}},
        rerun=build_rerun_command(audit),
        created_at=moment,
    )


def summarize_identity(report: Report) -> str:
    """The verdict in a sentence."""
    baselines = " and ".join(comparison.baseline for comparison in report.comparisons)
    return f"pass: the releases are identical: {report.subject} computes the same outputs as {baselines}"


def list_not_run(plan: AuditPlan, subject: Release) -> list[str]:
    """The parts of the plan that were not run, in sentences."""
    count = len(subject.resolve_targets(plan.classes))
    parts = [f"class visualizations of {_count(count, 'class', 'classes')}"]
    if plan.probes:
        parts.append(f"predictions and saliency maps of {_count(len(plan.probes), 'probe', 'probes')}")
    parts.append(f"the gates {', '.join(_list_gates(plan))}")
    return [f"{part}: not run, because {REASON}" for part in parts]


def describe_outcome(report: Report) -> dict[str, Any]:
    """The metrics of the audit's job, as those of an audit that has run."""
    fields = {"verdict", "findings", "errors", "figures", "plan_version", "baselines"}
    summary = {"summary": summarize_identity(report), "plan": report.plan.name}
    return report.model_dump(mode="json", include=fields) | summary


def write_identical_report(report: Report) -> dict[str, bytes]:
    """The files of the report by name."""
    return {
        "report.json": report.model_dump_json(indent=1).encode(),
        "report.html": _write_html(report).encode(),
        "junit.xml": _write_junit(report),
        "summary.md": _write_markdown(report).encode(),
    }


def _list_gates(plan: AuditPlan) -> list[str]:
    return [name for name in Gates.model_fields if getattr(plan.gates, name).severity != "off"]


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _write_html(report: Report) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((resources.files("shared.audits") / "identical.html").read_text())
    return template.render(report=report, summary=summarize_identity(report))


def _write_junit(report: Report) -> bytes:
    """JUnit XML in which every gate is skipped."""
    gates = _list_gates(report.plan)
    total = str(len(gates) * len(report.comparisons))
    suite = ElementTree.Element("testsuite", name=f"audit of {report.subject}", timestamp=report.created_at.isoformat())
    for comparison in report.comparisons:
        for gate in gates:
            name = f"{report.subject} compared with {comparison.baseline}"
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=gate)
            ElementTree.SubElement(case, "skipped", message=REASON)
    suite.attrib.update({"tests": total, "failures": "0", "errors": "0", "skipped": total})
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _write_markdown(report: Report) -> str:
    """A summary for a comment on a merge request."""
    lines = [
        f"## Audit of {report.subject} compared with {', '.join(report.baselines)}: **{report.verdict}**",
        "",
        f"{summarize_identity(report)}.",
        "",
        *(f"- {comparison.baseline}: {comparison.why}" for comparison in report.comparisons),
        *(f"- {part}" for part in report.not_run),
        "",
        f"Plan {report.plan.name} ({report.plan_version}). To run the audit again: `{report.rerun}`",
        "",
    ]
    return "\n".join(lines)
