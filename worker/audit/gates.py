"""Gates: which measured changes are findings, and which verdict follows from them."""

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np

from archetype.contract.audit import Comparison, Estimate, Finding, Verdict
from archetype.contract.audit_plan import AuditPlan, Gate, Gates, Waiver
from archetype.contract.class_names import ClassNames
from archetype.contract.report.standing import Standing
from worker.audit.compare import ClassRow, Side
from worker.audit.shortcut import SMALL
from worker.audit.statistics import Values, estimate_mean

SEVERITIES = ("fail", "warn", "waived", "note", "off")
"""All severities, the worst first."""

SHORTCUTS = ("trigger", "shortcut")
"""Gates whose findings come before others of the same severity: accuracy and probabilities do not show a shortcut."""

REASONS = {
    "confidence": "the probability of {name} on its probes fell by {points:.0f} percentage points more than that of "
    "the other classes",
    "recognition": "the baseline gives the subject's class models of {name} a probability that is {points:.0f} "
    "percentage points lower than that of its own class models",
    "shortcut": "{mark} makes the subject assign {points:.0f} percentage points more probes of other "
    "classes to {name} than the baseline",
    "focus": "the part of the saliency maps of {name} inside the true boxes fell by {points:.0f} percentage points",
    "appearance": "the class models of {name} changed more than those of the other classes, by {value:.1f} times the "
    "effect of random seeds",
    "accuracy": "the accuracy on all probes fell by {points:.1f} percentage points",
}
"""Sentences for the findings of each gate; `points` is the change in percentage points."""


def check_classes(rows: Iterable[ClassRow], plan: AuditPlan, baseline: str) -> list[Finding]:
    """Findings about single classes, for all gates."""
    findings = []
    for row in rows:
        for name, change in row.changes.items():
            gate: Gate = getattr(plan.gates, name)
            noise = row.noise.get(name, 0.0)
            if exceeds_gate(change, gate, noise):
                mark = row.mark.name if row.mark else SMALL
                findings.append(_build_finding(name, gate, change, baseline, target=row.name, noise=noise, mark=mark))
        converged, baseline_converged = (row.figures.get(f"{side}_arrived", 0.0) for side in ("subject", "baseline"))
        if converged < 2 <= baseline_converged and plan.gates.sanity.severity != "off":
            reason = (
                f"the gate recognition cannot evaluate {row.name}: the subject reaches its usual probability on "
                f"{converged:.0f} of its class models, the baseline on {baseline_converged:.0f}"
            )
            findings.append(_build_sanity_finding(plan.gates.sanity, reason, baseline, target=row.name))
    return findings


def check_accuracy(losses: Values, plan: AuditPlan, baseline: str) -> list[Finding]:
    """Whether the accuracy on all probes fell.

    Args:
        losses: For each probe, 1 if only the subject is wrong, −1 if only the baseline is wrong, else 0: (N,).
        plan: The audit plan.
        baseline: Reference of the baseline.
    """
    if len(losses) < 2:
        return []
    change, gate = estimate_mean(losses), plan.gates.accuracy
    return [_build_finding("accuracy", gate, change, baseline)] if exceeds_gate(change, gate, 0.0) else []


def exceeds_gate(change: Estimate, gate: Gate, noise: float) -> bool:
    """Whether a change exceeds the tolerance, and its confidence interval exceeds the noise."""
    return gate.severity != "off" and change.value > gate.tolerance and change.low > noise


def check_sanity(subject: Side, correlations: Sequence[float], gates: Gates) -> list[Finding]:
    """Whether the subject recognizes its own class models, and its saliency maps depend on its weights.

    Args:
        subject: The audited release.
        correlations: Rank correlations of its saliency maps with those of the network with shuffled weights.
        gates: Gates of the audit plan.
    """
    gate, findings = gates.sanity, []
    if gate.severity == "off":
        return []
    ranks = [model.verdict["rank"] for series in subject.models.values() for model in series]
    missed = float(np.mean([rank != 1 for rank in ranks])) if ranks else 0.0
    if missed > gate.tolerance:
        findings.append(
            _build_sanity_finding(gate, f"the subject does not recognize {missed:.0%} of its own class models")
        )
    correlation = float(np.mean(correlations)) if correlations else 0.0
    if correlation > gate.tolerance:
        reason = (
            "the saliency maps depend on the image more than on the network: their rank correlation with the maps of "
            f"the network with shuffled weights is {correlation:.2f}"
        )
        findings.append(_build_sanity_finding(gate, reason))
    return findings


def check_baselines(standings: Sequence[Standing], gates: Gates) -> list[Finding]:
    """Findings about baselines that were rejected or failed their own audit."""
    gate = gates.sanity
    if gate.severity == "off":
        return []
    return [
        _build_sanity_finding(
            gate, f"{each.describe()}; a comparison does not find faults that both releases have", each.release
        )
        for each in standings
        if not each.is_sound
    ]


def _build_finding(
    name: str,
    gate: Gate,
    change: Estimate,
    baseline: str,
    *,
    target: str | None = None,
    noise: float = 0.0,
    mark: str = SMALL,
) -> Finding:
    return Finding(
        gate=name,
        severity=gate.severity,
        target=target,
        baseline=baseline,
        change=change,
        noise=noise,
        tolerance=gate.tolerance,
        reason=REASONS[name].format(name=target, mark=mark, value=change.value, points=100 * change.value),
    )


def _build_sanity_finding(gate: Gate, reason: str, baseline: str | None = None, target: str | None = None) -> Finding:
    return Finding(
        gate="sanity",
        severity=gate.severity,
        target=target,
        baseline=baseline,
        tolerance=gate.tolerance,
        reason=reason,
    )


def apply_waivers(
    findings: Iterable[Finding], waivers: Sequence[Waiver], classes: ClassNames, today: date
) -> list[Finding]:
    """The findings, most severe first; those that a waiver covers today have the severity `waived`."""
    results = []
    for finding in findings:
        waiver = next((each for each in waivers if _covers(each, finding, classes, today)), None)
        results.append(finding.model_copy(update={"severity": "waived", "waiver": waiver}) if waiver else finding)
    return sorted(results, key=_sort_key)


def _covers(waiver: Waiver, finding: Finding, classes: ClassNames, today: date) -> bool:
    target = None if waiver.target is None else classes.label(classes.find(waiver.target))
    return waiver.gate == finding.gate and target in (None, finding.target) and waiver.expires >= today


def _sort_key(finding: Finding) -> tuple[int, bool, float]:
    excess = finding.change.value / finding.tolerance if finding.change and finding.tolerance else 0.0
    return SEVERITIES.index(finding.severity), finding.gate not in SHORTCUTS, -excess


def decide_verdict(findings: Sequence[Finding], comparisons: Sequence[Comparison], errors: Sequence[str]) -> Verdict:
    """The verdict on the subject."""
    if comparisons and not any(comparison.comparable for comparison in comparisons):
        return "not_comparable"
    severities = {finding.severity for finding in findings}
    if "fail" in severities:
        return "fail"
    if errors:
        return "error"
    return "warn" if "warn" in severities else "pass"


def summarize(
    verdict: Verdict, findings: Sequence[Finding], comparisons: Sequence[Comparison], errors: Sequence[str]
) -> str:
    """The verdict in a sentence."""
    if verdict == "not_comparable":
        return f"not comparable: {'; '.join(comparison.why or '' for comparison in comparisons)}"
    if verdict == "error":
        return f"error: {errors[0]}"
    counted = [finding for finding in findings if finding.severity in ("fail", "warn")]
    if counted:
        more = ("", "; 1 more finding", f"; {len(counted) - 1} more findings")[min(len(counted) - 1, 2)]
        return f"{verdict}: {counted[0].reason}{more}"
    if comparisons and all(comparison.identical for comparison in comparisons):
        return "pass: the subject is identical to the baseline: same architecture, equal weights"
    return "pass: no change exceeds its gate"
