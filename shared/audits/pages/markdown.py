"""A summary of a report in Markdown, for a comment on a merge request."""

from archetype.contract.audit import Finding
from archetype.contract.report.document import Report
from archetype.contract.report.units import write_estimate, write_value


def write_markdown(report: Report) -> str:
    """The decision, the findings, and what was not tested."""
    compared = f" compared with {', '.join(report.baselines)}" if report.baselines else ""
    lines = [f"## Audit of {report.subject}{compared}: **{report.verdict}**", "", report.conclusion.decision, ""]
    if report.findings:
        lines += [
            "| severity | gate | class | baseline | change (confidence interval) | limit | finding |",
            "|---|---|---|---|--:|--:|---|",
        ]
        lines += [_write_row(finding) for finding in report.findings]
        lines.append("")
    lines += [f"- not tested: {text}" for text in report.conclusion.untested]
    lines += ["", f"Plan {report.plan.name} ({report.plan_version}). To run the audit again: `{report.rerun}`", ""]
    return "\n".join(lines)


def _write_row(finding: Finding) -> str:
    cells = (
        finding.severity,
        finding.gate,
        finding.target or "all",
        finding.baseline or "",
        "" if finding.change is None else write_estimate(finding.change, finding.gate),
        "" if finding.tolerance is None else write_value(finding.tolerance, finding.gate),
        finding.reason,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
