"""Gate `slices`: does the accuracy fall on a part of the probes that the plan declares?"""

from collections.abc import Sequence

import numpy as np

from archetype.contract.audit import Estimate, Finding, SliceRow
from archetype.contract.audit_plan import AuditPlan
from worker.audit.checks.wilson import estimate_fall, estimate_proportion
from worker.audit.gates import exceeds_gate
from worker.job.member_results import ProbePredictions

MIN_PROBES = 5
"""A slice with fewer probes is listed without an interval of the fall: no fall of it could be beyond chance."""


def group_probes(plan: AuditPlan) -> dict[tuple[str, str], list[str]]:
    """The ids of the probes of each slice, by attribute and value, in the order of the plan."""
    slices: dict[tuple[str, str], list[str]] = {}
    for attribute in plan.slices:
        for probe in plan.probes:
            if attribute in probe.attributes:
                slices.setdefault((attribute, probe.attributes[attribute]), []).append(probe.id)
    return slices


def measure_slices(plan: AuditPlan, subject: ProbePredictions, baseline: ProbePredictions) -> list[SliceRow]:
    """The accuracy of both releases on each slice, with intervals that hold for all slices together."""
    shared = {
        name: [image for image in images if image in subject and image in baseline]
        for name, images in group_probes(plan).items()
    }
    filled = {name: images for name, images in shared.items() if images}
    rows = []
    for (attribute, value), images in filled.items():
        after, before = (np.array([looks[image].right for image in images]) for looks in (subject, baseline))
        proportions = [
            estimate_proportion(int(flags.sum()), len(images), comparisons=len(filled)) for flags in (after, before)
        ]
        fall = estimate_fall(before, after, comparisons=len(filled)) if len(images) >= MIN_PROBES else None
        rows.append(
            SliceRow(
                attribute=attribute,
                value=value,
                probes=len(images),
                subject=proportions[0],
                baseline=proportions[1],
                fall=fall,
            )
        )
    return rows


def check_slices(rows: Sequence[SliceRow], plan: AuditPlan, baseline: str) -> list[Finding]:
    """The slices on which the accuracy fell."""
    gate = plan.gates.slices
    return [
        Finding(
            gate="slices",
            severity=gate.severity,
            baseline=baseline,
            change=row.fall,
            noise=0.0,
            tolerance=gate.tolerance,
            reason=_explain(row, row.fall),
        )
        for row in rows
        if row.fall is not None and exceeds_gate(row.fall, gate, 0.0)
    ]


def _explain(row: SliceRow, fall: Estimate) -> str:
    before, after = (round(side.value * row.probes) for side in (row.baseline, row.subject))
    return (
        f"the accuracy on probes with {row.attribute} = {row.value} fell by {100 * fall.value:.1f} percentage points, "
        f"from {before} to {after} of {row.probes} probes"
    )
