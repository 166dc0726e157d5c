"""From what was measured to findings, and from findings to a verdict."""

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np

from shared.audits import Comparison, Finding, Measured, Verdict
from shared.parameters.audit import Gate, Gates, Plan, Waiver
from worker.audit.chance import Values, measure
from worker.audit.compare import ClassRow, Side

WORST_FIRST = ("fail", "warn", "waived", "note", "off")

SAYS = {
    "confidence": "pictures of {name} have become {value:.0%} less probable to be one, beyond what all classes lost",
    "recognition": "what the subject takes for {name} is {value:.0%} less probable to be one to the baseline",
    "shortcut": "a small mark in a corner makes {value:.0%} more pictures of other classes into {name}",
    "focus": "{value:.0%} less of what makes it see {name} lies where the thing is",
    "appearance": "the class model of {name} has moved {value:.0%} further than those of the other classes",
    "accuracy": "{value:.1%} of all probes were right and are wrong now",
}


def find_in_classes(rows: Iterable[ClassRow], plan: Plan, baseline: str) -> list[Finding]:
    """What is too much of a change, class by class and gate by gate."""
    found = []
    for row in rows:
        for name, change in row.changes.items():
            gate: Gate = getattr(plan.gates, name)
            noise = row.noise.get(name, 0.0)
            if is_too_much(change, gate, noise):
                reason = SAYS[name].format(name=row.name, value=change.value)
                found.append(_make(name, gate, reason, baseline, target=row.name, change=change, noise=noise))
        ours, theirs = (row.figures.get(f"{side}_arrived", 0.0) for side in ("subject", "baseline"))
        if ours < 2 <= theirs and plan.gates.sanity.severity != "off":
            reason = (
                f"the subject is sure of {ours:.0f} of its class models of {row.name}, the baseline of {theirs:.0f}"
            )
            found.append(_make("sanity", plan.gates.sanity, reason, baseline, target=row.name))
    return found


def find_in_all(losses: Values, plan: Plan, baseline: str) -> list[Finding]:
    """Whether the subject is wrong more often, on all probes together."""
    if len(losses) < 2:
        return []
    change, gate = measure(losses), plan.gates.accuracy
    if not is_too_much(change, gate, 0.0):
        return []
    return [_make("accuracy", gate, SAYS["accuracy"].format(value=change.value), baseline, change=change, noise=0.0)]


def is_too_much(change: Measured, gate: Gate, noise: float) -> bool:
    """Larger than is tolerated, and surely larger than chance."""
    return gate.severity != "off" and change.value > gate.tolerance and change.low > noise


def check_sanity(subject: Side, controls: Sequence[float], gates: Gates) -> list[Finding]:
    """Whether class models are to the subject what they are meant to be, and maps depend on what it has learned."""
    gate, found = gates.sanity, []
    drawn = [one for series in subject.models.values() for one in series]
    missed = float(np.mean([one.verdict["rank"] != 1 for one in drawn])) if drawn else 0.0
    if gate.severity != "off" and missed > gate.tolerance:
        reason = f"the subject does not recognise {missed:.0%} of its own class models"
        found.append(_make("sanity", gate, reason, None))
    same = float(np.mean(controls)) if controls else 0.0
    if gate.severity != "off" and same > gate.tolerance:
        reason = f"maps of shuffled weights rank pixels alike ({same:.2f}): the maps show the picture, not the network"
        found.append(_make("sanity", gate, reason, None))
    return found


def _make(
    name: str, gate: Gate, reason: str, baseline: str | None, *, target: str | None = None,
    change: Measured | None = None, noise: float | None = None,
) -> Finding:  # fmt: skip
    return Finding(
        gate=name, severity=gate.severity, target=target, baseline=baseline, change=change, noise=noise,
        tolerance=gate.tolerance, reason=reason,
    )  # fmt: skip


def waive(findings: Iterable[Finding], waivers: Sequence[Waiver], classes: Sequence[str], today: date) -> list[Finding]:
    """The findings, those among them waived that somebody answers for today; the worst first."""
    found = []
    for finding in findings:
        waiver = next((one for one in waivers if _covers(one, finding, classes, today)), None)
        found.append(finding.model_copy(update={"severity": "waived", "waiver": waiver}) if waiver else finding)
    return sorted(found, key=_how_bad)


def _covers(waiver: Waiver, finding: Finding, classes: Sequence[str], today: date) -> bool:
    named = classes[waiver.target] if isinstance(waiver.target, int) else waiver.target
    return waiver.gate == finding.gate and named in (None, finding.target) and waiver.expires >= today


def _how_bad(finding: Finding) -> tuple[int, float]:
    excess = finding.change.value / finding.tolerance if finding.change and finding.tolerance else 0.0
    return WORST_FIRST.index(finding.severity), -excess


def decide(findings: Sequence[Finding], comparisons: Sequence[Comparison], errors: Sequence[str]) -> Verdict:
    """The verdict on all of it."""
    compared = [one for one in comparisons if one.comparable]
    if comparisons and not compared:
        return "not_comparable"
    severities = {finding.severity for finding in findings}
    if "fail" in severities:
        return "fail"
    if errors:
        return "error"
    return "warn" if "warn" in severities else "pass"


def sum_up(
    verdict: Verdict, findings: Sequence[Finding], comparisons: Sequence[Comparison], errors: Sequence[str]
) -> str:
    """The verdict in a sentence."""
    counted = [finding for finding in findings if finding.severity in ("fail", "warn")]
    if verdict == "not_comparable":
        return f"not comparable: {'; '.join(one.why or '' for one in comparisons)}"
    if verdict == "error":
        return f"error: {errors[0]}"
    if counted:
        more = "" if len(counted) == 1 else f" and {len(counted) - 1} more"
        return f"{verdict}: {counted[0].reason}{more}"
    if comparisons and all(one.identical for one in comparisons):
        return "pass: identical to what it was held against, weight by weight"
    return "pass: no change is surely larger than the plan tolerates"
