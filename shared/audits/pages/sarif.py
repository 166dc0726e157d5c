"""SARIF 2.1.0 of a report, for systems that list findings of analyses, such as code scanning of GitHub.

OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0". A gate is a rule, a finding is a result. The
place of a result is the release, because an audit has no lines of code.
"""

from typing import Any

from archetype.contract.audit import Finding
from archetype.contract.report.document import Report
from archetype.contract.strict_json import dump_json
from archetype.version import VERSION

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"fail": "error", "warn": "warning", "waived": "note", "note": "note"}
"""Level of a result by the severity of its finding."""


def write_sarif(report: Report) -> bytes:
    """One run with a rule for each gate that was evaluated and a result for each finding."""
    gates = list(dict.fromkeys([*(gate.gate for gate in report.gates), *(finding.gate for finding in report.findings)]))
    run = {
        "tool": {
            "driver": {
                "name": "Archetype",
                "version": VERSION,
                "rules": [{"id": gate, "name": gate, "shortDescription": {"text": _name(gate)}} for gate in gates],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not report.errors,
                "endTimeUtc": report.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": error}} for error in report.errors
                ],
            }
        ],
        "results": [_describe(finding, gates.index(finding.gate), report.subject) for finding in report.findings],
    }
    return dump_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1).encode()


def _name(gate: str) -> str:
    return f"Gate {gate.replace('_', ' ')} of an audit"


def _describe(finding: Finding, rule: int, subject: str) -> dict[str, Any]:
    """A result. The same finding in a later audit with the same baseline has the same fingerprint, and is not new."""
    text = f"{finding.reason} {finding.action}" if finding.action else finding.reason
    waived = {"suppressions": [{"kind": "external", "justification": text}]} if finding.severity == "waived" else {}
    return {
        "ruleId": finding.gate,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": f"models/{subject.partition('@')[0]}"}}}],
        "partialFingerprints": {"gateAndClass/v1": f"{finding.gate}:{finding.target or ''}:{finding.baseline or ''}"},
        **waived,
    }
