"""The first page of a report: the decision in a sentence, what it is based on, and what was not tested."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archetype.contract.audit import Comparison, Finding, Verdict
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.report.document import Conclusion
from archetype.contract.report.measurements import Accuracy, GateResult, Outcome
from archetype.contract.report.standing import Standing

ACTIONS = {
    "accuracy": "Look at the probes that became wrong, in the section Probes. Keep the old release until the reason "
    "is known.",
    "confidence": "Check the labels and the number of training images of {name}, and train again.",
    "slices": "Look at the probes of this slice, in the section Probes. Add training images of this kind, and "
    "train again.",
    "robustness": "Add corrupted images of this kind to the training, or check whether they occur in use.",
    "natural_shortcuts": "Look at the probes below: what they have in common speaks for {name} by itself. Add images "
    "of other classes with it, and train again.",
    "recognition": "Compare the class visualizations of {name} below. If the object is missing in the new ones, look "
    "for what its training images have in common instead.",
    "shortcut": "Search the training images of {name} for this mark or one like it. Remove it or add it to other "
    "classes, and train again.",
    "trigger": "Search the training images of {name} for this change. Remove it or add it to other classes, and train "
    "again.",
    "focus": "Look at the saliency maps of {name} below. If they show the background, add training images with other "
    "backgrounds.",
    "appearance": "Compare the class visualizations of {name} below. No action is needed if both show the object.",
    "sanity": "Read the other gates with care: this part of the audit says little about the release.",
}
"""Recommended action for a finding of each gate."""

EVALUATED: tuple[Outcome, ...] = ("failed", "warned", "waived", "passed")
NOT_EVALUATED: tuple[Outcome, ...] = ("abstained", "off")
"""Results of gates that were evaluated, and of those that were not."""

SIMPLE_MARKS_ONLY = (
    "Shortcuts other than a small mark in a corner, words, lines, tints and noise, such as frames and fine patterns."
)

OTHER_ACTION = "Look at the evidence below. Keep the old release until the reason is known."


def recommend_action(finding: Finding) -> str:
    """The recommended action for a finding."""
    if finding.severity == "waived":
        return "None until the waiver expires."
    if finding.gate == "sanity" and finding.baseline is not None and finding.target is None:
        return "Compare with a release that may be used: name it, or give `approved` as the baseline."
    return ACTIONS.get(finding.gate, OTHER_ACTION).format(name=finding.target or "the classes")


@dataclass(frozen=True)
class Judgement:
    """Everything that the first page follows from.

    Attributes:
        verdict: The verdict.
        subject: Reference of the audited release.
        comparisons: The comparisons with the baselines.
        findings: All findings, most severe first.
        gates: The results of all gates.
        accuracy: The accuracy of the releases on the probes.
        errors: Parts that could not be evaluated.
        plan: The audit plan.
        not_run: Parts of the plan that were not run because the subject is identical to all baselines.
        standings: What was said about the baselines before, for those that were audited.
        skipped: Later releases that are no baselines because of what was said about them.
    """

    verdict: Verdict
    subject: str
    comparisons: Sequence[Comparison]
    findings: Sequence[Finding]
    gates: Sequence[GateResult]
    accuracy: Sequence[Accuracy]
    errors: Sequence[str]
    plan: AuditPlan
    not_run: Sequence[str] = ()
    standings: Sequence[Standing] = ()
    skipped: Sequence[Standing] = ()

    @property
    def has_models(self) -> bool:
        """Whether class visualizations were drawn: networks without gradients have none."""
        if self.comparisons:
            return not all("recognition" in each.abstentions for each in self.comparisons)
        return any(gate.gate == "sanity" and gate.result != "abstained" for gate in self.gates)

    @property
    def replaced(self) -> str:
        """The baselines, which the subject would replace."""
        return " or ".join(comparison.baseline for comparison in self.comparisons)

    @property
    def evaluated(self) -> list[GateResult]:
        """The gates that were evaluated."""
        return [gate for gate in self.gates if gate.result not in NOT_EVALUATED]


def conclude(judgement: Judgement) -> Conclusion:
    """The first page."""
    return Conclusion(
        decision=_decide(judgement),
        basis=list(_list_basis(judgement)),
        untested=list(dict.fromkeys(_list_untested(judgement))),
    )


def _decide(judgement: Judgement) -> str:
    """What to do, in one sentence."""
    subject, replaced, verdict = judgement.subject, judgement.replaced, judgement.verdict
    counted = [each for each in judgement.findings if each.severity in ("fail", "warn")]
    if verdict == "not_comparable":
        return f"No decision is possible: {'; '.join(each.why or '' for each in judgement.comparisons)}."
    if verdict == "error":
        return f"No decision is possible yet, because a part of the audit failed: {judgement.errors[0].rstrip('.')}."
    if verdict == "fail":
        advice = f"Do not replace {replaced} with {subject}" if replaced else f"Do not use {subject}"
        return f"{advice}: {counted[0].reason}."
    can = f"{subject} can replace {replaced}" if replaced else f"{subject} can be used"
    if verdict == "warn":
        number = "one warning" if len(counted) == 1 else f"{len(counted)} warnings"
        return f"{can} after a person has accepted {number}: {counted[0].reason}."
    if judgement.comparisons and all(each.identical for each in judgement.comparisons):
        return f"{can}: the two networks are identical."
    return _decide_pass(can, judgement.gates)


def _decide_pass(can: str, gates: Sequence[GateResult]) -> str:
    waived = sorted({gate.gate for gate in gates if gate.result == "waived"})
    skipped = sorted({gate.gate for gate in gates if gate.result in NOT_EVALUATED})
    text = f"{can}: no gate found a change beyond its limit"
    if waived:
        text = f"{can}: all findings are waived (gates {', '.join(waived)})"
    if skipped:
        text += f", but {_count(len(skipped), 'gate')} could not be evaluated: {', '.join(skipped)}"
    return f"{text}."


def _list_basis(judgement: Judgement) -> Iterator[str]:
    if judgement.not_run:
        for each in judgement.comparisons:
            yield f"Digests of {judgement.subject} and {each.baseline}: {each.why}."
        yield "No job was run: networks with the same weights and settings compute the same outputs."
    else:
        yield from _list_measured_basis(judgement)
    yield from (f"{_begin(each.describe())}." for each in judgement.standings)
    yield from (f"{_begin(each.describe())}, so it is no baseline." for each in judgement.skipped)


def _begin(sentence: str) -> str:
    """The sentence with a capital letter, unless it begins with the name of a release."""
    return f"T{sentence[1:]}" if sentence.startswith("the ") else sentence


def _list_measured_basis(judgement: Judgement) -> Iterator[str]:
    plan, gates = judgement.plan, judgement.evaluated
    counts = [(result, sum(gate.result == result for gate in gates)) for result in EVALUATED]
    listed = ", ".join(f"{count} {result}" for result, count in counts if count)
    yield f"{_count(len(gates), 'check')} of {_count(len({gate.gate for gate in gates}), 'gate')}: {listed or 'none'}."
    if judgement.accuracy:
        releases = "; ".join(
            f"{each.release} is right on {each.correct} of {each.probes} ({each.low:.1%} to {each.high:.1%})"
            for each in judgement.accuracy
        )
        yield f"{_count(judgement.accuracy[0].probes, 'probe')}: {releases}."
    if judgement.has_models:
        yield (
            f"{_count(len(plan.seeds), 'class visualization')} per class and release, and {len(plan.noise_seeds)} more "
            "of the baseline to measure the effect of chance."
        )


def _list_untested(judgement: Judgement) -> Iterator[str]:
    plan = judgement.plan
    known = {each.release for each in judgement.standings}
    unknown = [each.baseline for each in judgement.comparisons if each.baseline not in known]
    yield from (
        f"{name} itself was not audited: a comparison does not find faults that both releases have." for name in unknown
    )
    apart = [each for each in judgement.comparisons if not each.comparable]
    yield from (f"Comparison with {each.baseline}: {each.why}." for each in apart)
    yield from judgement.not_run
    yield from (f"{error.rstrip('.')}." for error in judgement.errors)
    yield from _list_gates_not_evaluated(judgement.gates)
    left_out = dict.fromkeys(text for each in judgement.comparisons for text in each.left_out)
    yield from left_out
    if not plan.probes:
        yield "Predictions for images: the plan has no probes."
    if plan.classes != "all":
        yield f"Class visualizations of other classes than the {len(plan.classes)} of the plan."
    if not any(gate.gate == "trigger" for gate in judgement.evaluated):
        yield SIMPLE_MARKS_ONLY
    yield "Images that differ from the probes: other objects, cameras, light and backgrounds."


def _list_gates_not_evaluated(gates: Sequence[GateResult]) -> Iterator[str]:
    for gate in gates:
        if gate.result == "abstained":
            yield f"Gate {gate.gate}. {gate.explanation}"
        elif gate.result == "off":
            yield f"Gate {gate.gate}: the plan disables it."
        elif gate.evaluated < gate.classes:
            yield f"Gate {gate.gate}: {gate.classes - gate.evaluated} of {gate.classes} classes."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
