"""The outcome of an audit, which the record of its job has."""

from typing import Any

from archetype.contract.report.document import Report

FIELDS = {"verdict", "summary", "findings", "errors", "figures", "plan_version", "baselines"}


def describe_outcome(report: Report) -> dict[str, Any]:
    """The metrics of the audit's job."""
    return report.model_dump(mode="json", include=FIELDS) | {"plan": report.plan.name}
