"""The first page of a report: the decision in a sentence, what it is based on, and what was not tested."""

from collections.abc import Iterator, Sequence

from archetype.contract.audit import Comparison, Finding, Verdict
from archetype.contract.audit_plan import AuditPlan, Gates
from archetype.contract.report.document import Conclusion
from archetype.contract.report.measurements import Accuracy, GateResult

ACTIONS = {
    "accuracy": "Look at the probes that became wrong, in the section Probes. Keep the old release until the reason "
    "is known.",
    "confidence": "Check the labels and the number of training images of {name}, and train again.",
    "recognition": "Compare the class visualizations of {name} below. If the object is missing in the new ones, look "
    "for what its training images have in common instead.",
    "shortcut": "Search the training images of {name} for this mark. Remove it or add it to other classes, and train "
    "again.",
    "focus": "Look at the saliency maps of {name} below. If they show the background, add training images with other "
    "backgrounds.",
    "appearance": "Compare the class visualizations of {name} below. No action is needed if both show the object.",
    "sanity": "Read the other gates with care: this part of the audit says little about the release.",
}
"""Recommended action for a finding of each gate."""

OTHER_ACTION = "Look at the evidence below. Keep the old release until the reason is known."


def recommend_action(finding: Finding) -> str:
    """The recommended action for a finding."""
    if finding.severity == "waived":
        return "None until the waiver expires."
    return ACTIONS.get(finding.gate, OTHER_ACTION).format(name=finding.target or "the classes")


def conclude(
    verdict: Verdict,
    subject: str,
    comparisons: Sequence[Comparison],
    *,
    findings: Sequence[Finding],
    gates: Sequence[GateResult],
    accuracy: Sequence[Accuracy],
    errors: Sequence[str],
    plan: AuditPlan,
) -> Conclusion:
    """The first page."""
    baselines = [comparison.baseline for comparison in comparisons]
    return Conclusion(
        decision=_decide(verdict, subject, baselines, comparisons, findings, gates, errors),
        basis=list(_list_basis(gates, accuracy, plan)),
        untested=list(_list_untested(gates, comparisons, errors, plan)),
    )


def _decide(
    verdict: Verdict,
    subject: str,
    baselines: Sequence[str],
    comparisons: Sequence[Comparison],
    findings: Sequence[Finding],
    gates: Sequence[GateResult],
    errors: Sequence[str],
) -> str:
    """What to do, in one sentence."""
    replaced = " or ".join(baselines)
    counted = [each for each in findings if each.severity in ("fail", "warn")]
    if verdict == "not_comparable":
        return f"No decision is possible: {'; '.join(each.why or '' for each in comparisons)}."
    if verdict == "error":
        return f"No decision is possible yet, because a part of the audit failed: {errors[0].rstrip('.')}."
    if verdict == "fail":
        advice = f"Do not replace {replaced} with {subject}" if replaced else f"Do not use {subject}"
        return f"{advice}: {counted[0].reason}."
    if comparisons and all(each.identical for each in comparisons):
        return f"{subject} can replace {replaced}: the two networks are identical."
    can = f"{subject} can replace {replaced}" if replaced else f"{subject} can be used"
    if verdict == "warn":
        number = "one warning" if len(counted) == 1 else f"{len(counted)} warnings"
        return f"{can} after a person has accepted {number}: {counted[0].reason}."
    return _decide_pass(can, gates)


def _decide_pass(can: str, gates: Sequence[GateResult]) -> str:
    waived = sorted({gate.gate for gate in gates if gate.result == "waived"})
    abstained = sorted({gate.gate for gate in gates if gate.result in ("abstained", "off")})
    text = f"{can}: no gate found a change beyond its limit"
    if waived:
        text = f"{can}: all findings are waived (gates {', '.join(waived)})"
    if abstained:
        text += f", but {_count(len(abstained), 'gate')} could not be evaluated: {', '.join(abstained)}"
    return f"{text}."


def _list_basis(gates: Sequence[GateResult], accuracy: Sequence[Accuracy], plan: AuditPlan) -> Iterator[str]:
    asked = [gate for gate in gates if gate.result not in ("abstained", "off")]
    counts = {
        result: sum(gate.result == result for gate in asked) for result in ("failed", "warned", "waived", "passed")
    }
    listed = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
    yield f"{_count(len(asked), 'check')} of {_count(len({gate.gate for gate in asked}), 'gate')}: {listed or 'none'}."
    if accuracy:
        probes = accuracy[0].probes
        yield (
            f"{_count(probes, 'probe')}: "
            + "; ".join(
                f"{each.release} is right on {each.correct} of {each.probes} ({each.low:.1%} to {each.high:.1%})"
                for each in accuracy
            )
            + "."
        )
    seeds = len(plan.seeds)
    yield (
        f"{_count(seeds, 'class visualization')} per class and release, and {len(plan.noise_seeds)} more of the "
        "baseline to measure the effect of chance."
    )


def _list_untested(
    gates: Sequence[GateResult], comparisons: Sequence[Comparison], errors: Sequence[str], plan: AuditPlan
) -> Iterator[str]:
    yield from (f"Comparison with {each.baseline}: {each.why}." for each in comparisons if not each.comparable)
    yield from (f"{error.rstrip('.')}." for error in errors)
    for gate in gates:
        if gate.result == "abstained":
            yield f"Gate {gate.gate}. {gate.explanation}"
        if gate.result == "off":
            yield f"Gate {gate.gate}: the plan disables it."
        if gate.result not in ("abstained", "off") and gate.evaluated < gate.classes:
            yield f"Gate {gate.gate}: {gate.classes - gate.evaluated} of {gate.classes} classes."
    if not plan.probes:
        yield "Predictions for images: the plan has no probes."
    if plan.classes != "all":
        yield f"Class visualizations of other classes than the {len(plan.classes)} of the plan."
    if "trigger" not in Gates.model_fields:
        yield (
            "Shortcuts other than a small mark in a corner: words, frames, tints and fine patterns over the whole "
            "image."
        )
    yield "Images that differ from the probes: other objects, cameras, light and backgrounds."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
