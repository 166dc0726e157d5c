"""The results of all gates, including those that passed and those that could not be evaluated (abstained)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from archetype.contract.audit import ALL, Comparison, Estimate, Finding
from archetype.contract.audit_plan import AuditPlan, Gate, Gates
from archetype.contract.report.measurements import GateResult, Outcome
from archetype.contract.report.units import UNCHANGED, find_unit, write_number, write_value

NEEDS = {
    "accuracy": "it needs at least two probes that both releases classified",
    "confidence": "it needs at least two probes of a class",
    "slices": "it needs slices in the plan, and at least five probes of a slice that both releases classified",
    "robustness": "it needs at least five probes",
    "natural_shortcuts": "it needs networks that end in a linear layer, at least four probes of a class, and five of "
    "others",
    "recognition": "it needs at least two class visualizations of a class on which both releases reach their usual "
    "probability",
    "shortcut": "it needs at least five probes of other classes",
    "trigger": "it needs at least eight probes of three classes",
    "focus": "it needs at least two probes of a class with true boxes",
    "appearance": "it needs class visualizations from at least two seeds",
    "sanity": "it needs class visualizations or saliency maps of the subject",
}
"""What a gate needs to be evaluated."""

OUTCOMES: dict[str, Outcome] = {"fail": "failed", "warn": "warned", "waived": "waived"}
"""Result of a gate by the most severe of its findings."""


ERROR_LEVEL = 0.05
"""Probability with which chance alone lies outside a confidence interval; 1 minus the confidence level."""


CHANCE = "chance explains it: its interval includes changes that random seeds or few probes cause"
UNCERTAIN = {
    "trigger": "it is not certain: its interval, the second seed or the probes that were kept aside do not confirm it"
}
"""Why a change beyond the limit is no finding: for most gates, and for those that need more than an interval."""


@dataclass(frozen=True)
class Sanity:
    """Measurements of the audit itself.

    Attributes:
        missed: Fraction of its own class visualizations that the subject does not recognize; None if there are none.
        correlation: Rank correlation of its saliency maps with those of the network with shuffled weights.
    """

    missed: float | None
    correlation: float | None


def list_gate_results(
    plan: AuditPlan, comparisons: Sequence[Comparison], findings: Sequence[Finding], sanity: Sanity
) -> list[GateResult]:
    """The result of every gate in every comparison; gates about the subject alone come last."""
    results = [
        _judge(name, getattr(plan.gates, name), comparison, findings)
        for comparison in comparisons
        if comparison.comparable
        for name in Gates.model_fields
        if name != "sanity"
    ]
    return results + list(_judge_sanity(plan.gates.sanity, findings, sanity))


def _judge(name: str, gate: Gate, comparison: Comparison, findings: Sequence[Finding]) -> GateResult:
    changes = _read_changes(name, comparison)
    found = [each for each in findings if each.gate == name and each.baseline == comparison.baseline]
    target = _find_target(found, changes)
    change = (found[0].change if found else None) or changes.get(target)
    noise = _read_noise(name, target, comparison)
    classes = len(comparison.classes) if changes and name not in comparison.changes else 0
    return GateResult(
        gate=name,
        baseline=comparison.baseline,
        result=_decide(gate, found, is_measured=bool(changes) or comparison.identical),
        severity=gate.severity,
        question=_ask(name),
        unit=find_unit(name),
        limit=gate.tolerance,
        change=change,
        noise=noise,
        margin=None if change is None else gate.tolerance - change.value,
        target=target,
        evaluated=len(changes) if classes else 0,
        classes=classes,
        explanation=_explain(name, gate, found, changes, comparison),
    )


def _find_target(found: Sequence[Finding], changes: Mapping[str | None, Estimate]) -> str | None:
    """What the first finding is about; without a finding, what changed most. Findings of slices name no class."""
    if not found:
        return max(changes, key=lambda each: changes[each].value, default=None)
    return found[0].target or next((each for each, change in changes.items() if change == found[0].change), None)


def _read_changes(name: str, comparison: Comparison) -> Mapping[str | None, Estimate]:
    """Changes by class, or by what else the gate measures; a change of the whole release has the key None."""
    if name in comparison.changes:
        return {None if key == ALL else key: change for key, change in comparison.changes[name].items()}
    return {
        row["target"]: Estimate.model_validate(row["changes"][name])
        for row in comparison.classes
        if name in row.get("changes", {})
    }


def _read_noise(name: str, target: str | None, comparison: Comparison) -> float | None:
    noise = next((row.get("noise", {}).get(name) for row in comparison.classes if row["target"] == target), None)
    return None if noise is None else float(noise)


def _decide(gate: Gate, found: Sequence[Finding], *, is_measured: bool) -> Outcome:
    if gate.severity == "off":
        return "off"
    if found:
        return next(outcome for severity, outcome in OUTCOMES.items() if severity in {each.severity for each in found})
    return "passed" if is_measured else "abstained"


def _ask(name: str) -> str:
    return (Gates.model_fields[name].description or "").replace("`", "")


def _explain(
    name: str, gate: Gate, found: Sequence[Finding], changes: Mapping[str | None, Estimate], comparison: Comparison
) -> str:
    if gate.severity == "off":
        return "The plan disables this gate."
    if found:
        return _sentence(found[0].reason) + (f" {len(found) - 1} more." if len(found) > 1 else "")
    if comparison.identical and not changes:
        return "The two networks are identical, so nothing can have changed."
    if not changes:
        return f"Not evaluated: {comparison.abstentions.get(name) or NEEDS.get(name, 'its data is missing')}."
    skipped = 0 if name in comparison.changes else len(comparison.classes) - len(changes)
    left_out = f" {skipped} of {len(comparison.classes)} classes could not be evaluated." if skipped else ""
    return f"{_explain_pass(name, gate, changes)}{left_out}"


def _explain_pass(name: str, gate: Gate, changes: Mapping[str | None, Estimate]) -> str:
    target = max(changes, key=lambda each: changes[each].value)
    value, of_target = changes[target].value, f" ({target})" if target is not None else ""
    if value > gate.tolerance:
        return f"The largest change{of_target} is beyond the limit, but {UNCERTAIN.get(name, CHANCE)}."
    if value <= UNCHANGED.get(name, 0.0):
        return "No change in the direction that this gate looks for."
    margin = write_value(gate.tolerance - value, name)
    return f"The largest change{of_target} is {write_number(value, name)}, which is {margin} below the limit."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _judge_sanity(gate: Gate, findings: Sequence[Finding], sanity: Sanity) -> Iterator[GateResult]:
    """Two checks of the audit itself; classes that `recognition` cannot evaluate are findings of the first."""
    all_found = [each for each in findings if each.gate == "sanity"]
    about_baselines = [each for each in all_found if each.baseline is not None and each.target is None]
    found = [each for each in all_found if each not in about_baselines]
    about_maps = [each for each in found if each.reason.startswith("the saliency maps")]
    about_models = [each for each in found if each not in about_maps]
    yield _check(
        gate,
        about_models,
        sanity.missed,
        "Fraction of its own class visualizations that the subject does not recognize.",
        f"The subject recognizes {1 - (sanity.missed or 0):.0%} of its own class visualizations.",
    )
    yield _check(
        gate,
        about_maps,
        sanity.correlation,
        "Rank correlation of the subject's saliency maps with those of the same network with shuffled weights.",
        f"The saliency maps depend on the weights: the rank correlation is {sanity.correlation or 0:.2f}.",
    )
    if about_baselines:
        yield _check(gate, about_baselines, None, "Whether the baselines may be used themselves.", "")


def _check(gate: Gate, found: Sequence[Finding], value: float | None, question: str, passed: str) -> GateResult:
    result = _decide(gate, found, is_measured=value is not None)
    texts = {
        "off": "The plan disables this gate.",
        "abstained": f"Not evaluated: {NEEDS['sanity']}.",
        "passed": passed,
    }
    return GateResult(
        gate="sanity",
        baseline=None,
        result=result,
        severity=gate.severity,
        question=question,
        unit=find_unit("sanity"),
        limit=gate.tolerance,
        change=None if value is None else Estimate(value=value, low=value, high=value),
        margin=None if value is None else gate.tolerance - value,
        explanation=texts.get(result) or _sentence(found[0].reason),
    )
