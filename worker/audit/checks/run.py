"""Runs the gates that have measures of their own, one line each."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archetype.contract.audit import ComponentRow, CorruptionRow, Estimate, Finding, SliceRow
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.job import Progress
from worker.audit.checks.features import choose_probes, compute_features
from worker.audit.checks.natural_shortcuts import check_components, measure_components
from worker.audit.checks.neighborhoods import describe_groups, find_groups
from worker.audit.checks.robustness import check_robustness, measure_robustness
from worker.audit.checks.slices import check_slices, measure_slices
from worker.audit.compare import Side
from worker.audit.maps.probe_maps import list_labeled
from worker.audit.parts import report_parts
from worker.inputs.view import View


@dataclass(frozen=True)
class Checked:
    """What the gates measured and found in a comparison.

    Attributes:
        fields: Measurements, as fields of `Comparison`.
        changes: The changes that the gates judge, as in `Comparison.changes`.
        findings: The changes that exceed a gate.
    """

    fields: Mapping[str, Any]
    changes: Mapping[str, dict[str, Estimate]]
    findings: Sequence[Finding]


def run_checks(
    subject: Side, baseline: Side, plan: AuditPlan, views: Mapping[str, View]
) -> Generator[Progress, Any, Checked]:
    """Runs every gate that the plan has not disabled. Yields the progress of each."""
    reference, gates, probes = baseline.release.reference, plan.gates, list_labeled(subject, views)
    fields: dict[str, Any] = {}
    findings: list[Finding] = []
    if gates.slices.severity != "off":
        fields["slices"] = measure_slices(plan, subject.looks, baseline.looks)
        findings += check_slices(fields["slices"], plan, reference)
    if gates.robustness.severity != "off":
        measuring = measure_robustness(subject.classifier, baseline.classifier, probes)
        fields["corruptions"] = yield from report_parts(measuring, "batch")
        findings += check_robustness(fields["corruptions"], plan, reference)
    chosen = choose_probes(probes)
    after = yield from report_parts(compute_features(subject.classifier, chosen), "batch")
    before = yield from report_parts(compute_features(baseline.classifier, chosen), "batch")
    if after is not None and before is not None:
        names = subject.release.class_names
        groups = find_groups(before.values, after.values)
        fields["changed_groups"] = describe_groups(groups, chosen, names)
        if gates.natural_shortcuts.severity != "off":
            fields["components"] = measure_components(after, before, chosen, names)
            findings += check_components(fields["components"], plan, reference)
    return Checked(fields, _list_changes(fields), findings)


def _list_changes(fields: Mapping[str, Any]) -> dict[str, dict[str, Estimate]]:
    """The changes by gate and by what was measured. A gate that could measure nothing is left out."""
    slices: Sequence[SliceRow] = fields.get("slices", [])
    corruptions: Sequence[CorruptionRow] = fields.get("corruptions", [])
    components: Sequence[ComponentRow] = fields.get("components", [])
    changes = {
        "slices": {f"{row.attribute} = {row.value}": row.fall for row in slices if row.fall is not None},
        "robustness": {row.corruption: row.change for row in corruptions if row.change is not None},
        "natural_shortcuts": {row.target: row.change for row in components},
    }
    return {gate: measured for gate, measured in changes.items() if measured}
