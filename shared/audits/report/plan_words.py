"""An audit plan in sentences."""

from collections import Counter
from collections.abc import Iterator

from archetype.contract.audit_plan import AuditPlan, Gate, Gates
from archetype.contract.report.units import write_value

EFFECTS = {"fail": "fails the audit", "warn": "gives a warning", "off": "is disabled"}


def describe_plan(plan: AuditPlan) -> list[str]:
    """The plan in sentences, with all tolerances."""
    return list(_describe(plan))


def _describe(plan: AuditPlan) -> Iterator[str]:
    classes = "all classes" if plan.classes == "all" else f"{len(plan.classes)} classes"
    yield (
        f"Class visualizations of {classes}: preset {plan.class_models.preset}, {plan.class_models.steps} steps; the "
        f"baseline from the seeds {_list(plan.seeds)}, the subject from the seeds "
        f"{_list(plan.subject_seeds or plan.seeds)}."
    )
    yield f"A second series of the baseline from the seeds {_list(plan.noise_seeds)} measures what seeds alone change."
    yield _describe_probes(plan)
    if plan.slices:
        yield f"Slices by the attributes of the probes: {_list(plan.slices)}."
    if plan.judges:
        yield f"Other networks that classify the class visualizations: {_list(plan.judges)}."
    for name in Gates.model_fields:
        yield _describe_gate(name, getattr(plan.gates, name))
    yield (
        "A change is a finding if it is larger than the limit and its whole confidence interval is larger than the "
        "noise."
    )
    for waiver in plan.waivers:
        target = "all classes" if waiver.target is None else str(waiver.target)
        yield (f"Waiver by {waiver.owner} until {waiver.expires} for gate {waiver.gate}, {target}: {waiver.reason}.")


def _describe_probes(plan: AuditPlan) -> str:
    if not plan.probes:
        return "No probes: predictions for images are not compared."
    counts = Counter(str(probe.target) for probe in plan.probes)
    boxes = sum(bool(probe.boxes) for probe in plan.probes)
    few, many = min(counts.values()), max(counts.values())
    each = str(few) if few == many else f"{few} to {many}"
    return (
        f"{len(plan.probes)} probes of {len(counts)} classes, {each} per class, {boxes} with true boxes; saliency maps "
        f"{_describe_maps(plan)}."
    )


def _describe_maps(plan: AuditPlan) -> str:
    if plan.saliency is None:
        return "of the kind that is most faithful to the subject"
    return f"by {plan.saliency.kind} of {plan.saliency.gradient} gradients"


def _describe_gate(name: str, gate: Gate) -> str:
    if gate.severity == "off":
        return f"Gate {name} is disabled."
    return f"Gate {name}: a change of more than {write_value(gate.tolerance, name)} {EFFECTS[gate.severity]}."


def _list(values: list[int] | list[str]) -> str:
    return ", ".join(map(str, values))
