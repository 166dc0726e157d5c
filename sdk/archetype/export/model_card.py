"""The model card of an audited release, as far as an audit knows it.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv 1810.03993).
"""

from archetype.contract.report.document import Report
from archetype.contract.report.measurements import Accuracy

UNKNOWN = "*The audit does not know this. Complete it.*"


def write_model_card(report: Report) -> str:
    """Write the model card in Markdown. What an audit does not know is marked."""
    sections = {
        "Model details": _list(_describe_model(report)),
        "Intended use": UNKNOWN,
        "Factors": _list(report.conclusion.basis),
        "Metrics": _list(report.plan_in_words),
        "Evaluation data": _describe_probes(report),
        "Training data": UNKNOWN,
        "Quantitative analyses": _describe_gates(report),
        "Ethical considerations": UNKNOWN,
        "Caveats and recommendations": _list(
            [*(finding.reason for finding in report.findings), *report.conclusion.untested]
        ),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# Model card of {report.subject}\n\n{report.conclusion.decision}\n\n{body}\n"


def _describe_model(report: Report) -> list[str]:
    facts = [f"Release: {report.subject}"]
    identity = next((each for each in report.releases if each.release == report.subject), None)
    if identity is not None:
        facts.append(f"Architecture: {identity.architecture}")
        digests = {"weights file": identity.file_sha256, "weights as loaded": identity.weights_sha256}
        facts += [f"SHA-256 of the {name}: `{digest}`" for name, digest in digests.items() if digest]
    if report.baselines:
        facts.append(f"Compared with: {', '.join(report.baselines)}")
    facts.append(f"Audited: {report.created_at:%Y-%m-%d}, plan {report.plan.name} (version {report.plan_version})")
    facts.append(f"Repeat the audit: `{report.rerun}`")
    return facts


def _describe_probes(report: Report) -> str:
    count = len(report.probes) + report.probes_left_out
    if not count:
        return "The audit had no labeled images."
    return f"{count} labeled images (probes). report.json has their names, digests and predictions."


def _describe_gates(report: Report) -> str:
    rows = [
        f"| {gate.gate.replace('_', ' ')} | {gate.baseline or ''} | {gate.result} | {gate.explanation} |"
        for gate in report.gates
    ]
    gates = "\n".join(["| gate | compared with | result | explanation |", "|---|---|---|---|", *rows])
    accuracy = _list([_describe_accuracy(each) for each in report.accuracy])
    return f"{accuracy}\n\n{gates}" if report.accuracy else gates


def _describe_accuracy(accuracy: Accuracy) -> str:
    return f"Accuracy of {accuracy.release}: {accuracy.correct} of {accuracy.probes} images"


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or UNKNOWN
