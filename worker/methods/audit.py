"""Method `audit`: compares the results of an audit's jobs, decides the verdict, and writes the report."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from archetype.contract.audit import Comparison, Finding, Report
from archetype.contract.audit_plan import Gates
from archetype.contract.job import Progress
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.request import Audit
from shared.errors import Problem, Unavailable
from shared.lifecycle.audit_jobs import explain_difference
from worker.attribution.saliency_maps import choose_map
from worker.audit.compare import ClassRow, Side, compare_classes, count_losses, have_same_weights
from worker.audit.gates import apply_waivers, check_accuracy, check_classes, check_sanity, decide_verdict, summarize
from worker.audit.provenance import build_rerun_command, describe_provenance
from worker.audit.release_figures import compute_figures
from worker.audit.report import Case, Evidence, write_report
from worker.audit.statistics import Values
from worker.audit.trigger_gate import compare_triggers
from worker.engine.model.classifier import Classifier
from worker.inputs.preprocess import Levels, to_tensor
from worker.inputs.view import crop_levels
from worker.job.context import Evaluator, JobContext
from worker.job.member_results import MemberResults, MissingResult, ProbePredictions


@dataclass(frozen=True)
class Compared:
    """Result of the comparison with a baseline.

    Attributes:
        comparison: The measurements.
        findings: The changes that exceed a gate.
        case: Data for the HTML report; None if the releases cannot be compared.
    """

    comparison: Comparison
    findings: Sequence[Finding] = ()
    case: Case | None = None


def run(context: JobContext[Audit]) -> Generator[Progress, Any, dict[str, Any]]:
    """Compares the subject with every baseline, applies the gates, and writes the report."""
    plan, errors = context.request.plan, list[str]()
    images = yield from load_probes(context, errors)
    subject = load_subject(context, errors)
    compared: list[Compared] = []
    for evaluator in context.evaluators:
        try:
            compared.append((yield from compare_with(evaluator, subject, context, images, done=len(compared))))
        except MissingResult as absent:
            errors.append(str(absent))
    report, summary = build_report(context, subject, compared, errors)
    map_class = partial(map_class_evidence, context.classifier, plan.saliency)
    evidence = Evidence([result.case for result in compared if result.case is not None], images, map_class)
    for name, data in write_report(report, summary, evidence).items():
        context.save(name, data)
    metrics = report.model_dump(
        mode="json", include={"verdict", "findings", "errors", "figures", "plan_version", "baselines"}
    )
    return metrics | {"summary": summary, "plan": plan.name}


def build_report(
    context: JobContext[Audit], subject: Side, compared: Sequence[Compared], errors: list[str]
) -> tuple[Report, str]:
    """The report and its summary in a sentence."""
    audit, plan, now = context.request, context.request.plan, datetime.now(UTC)
    comparisons = [result.comparison for result in compared]
    found = [finding for result in compared for finding in result.findings]
    found += check_sanity(subject, list_control_correlations(context.member_results), plan.gates)
    findings = apply_waivers(found, plan.waivers, context.release.class_names, now.date())
    verdict = decide_verdict(findings, comparisons, errors)
    report = Report(
        verdict=verdict,
        subject=context.release.reference,
        baselines=audit.baselines,
        plan=plan,
        plan_version=plan.version,
        findings=findings,
        comparisons=comparisons,
        errors=errors,
        figures=compute_figures(subject, {probe.id: probe for probe in plan.probes}),
        identity=describe_provenance(context.member_results, plan),
        rerun=build_rerun_command(audit),
        created_at=now,
    )
    return report, summarize(verdict, findings, comparisons, errors)


def compare_with(
    evaluator: Evaluator, subject: Side, context: JobContext[Audit], images: Mapping[str, Levels], *, done: int
) -> Generator[Progress, Any, Compared]:
    """Compares the subject with a baseline.

    Args:
        evaluator: The baseline with its network.
        subject: The audited release.
        context: Context of the audit's job.
        images: Images of the probes at the network's input size, each (H, W, C), by image id.
        done: Number of baselines that are already compared.

    Raises:
        MissingResult: A job of the baseline has no result.
    """
    plan, reference = context.request.plan, evaluator.release.reference
    difference = explain_difference(context.release, evaluator.release)
    if difference is not None:
        return Compared(Comparison(baseline=reference, comparable=False, why=difference))
    baseline = load_baseline(evaluator, context.member_results)
    noise_models = context.member_results.load_class_models(f"{reference}/noise")
    probes = {probe.id: probe for probe in plan.probes}
    rows: dict[int, ClassRow] = {}
    for measured in compare_classes(subject, baseline, noise_models, images, probes=probes):
        rows = measured
        yield Progress(done=done, total=len(context.evaluators), unit="baseline")
    losses = count_losses(subject.looks, baseline.looks)
    identical = have_same_weights(subject, baseline)
    triggers = yield from compare_triggers(subject, baseline, images, plan.gates.trigger)
    comparison = build_comparison(reference, rows, losses, plan.gates, identical=identical)
    return Compared(
        comparison.model_copy(update={"triggers": triggers.results, "triggers_abstained": triggers.abstained}),
        check_classes(rows.values(), plan, reference) + check_accuracy(losses, plan, reference) + triggers.findings,
        Case(subject, baseline, rows),
    )


def load_probes(context: JobContext[Audit], errors: list[str]) -> Generator[Progress, Any, dict[str, Levels]]:
    """Images of the probes as the networks see them, each (H, W, C), by id. An unreadable image adds an error.

    Raises:
        Unavailable: The store does not answer.
    """
    images: dict[str, Levels] = {}
    for number, probe in enumerate(context.request.plan.probes, 1):
        try:
            images[probe.id] = crop_levels(context.images.load(probe.id), context.release.preprocessing)
        except Unavailable:  # for a while; an error would be in the verdict for ever
            raise
        except Problem as problem:
            errors.append(f"probe {probe.id[:12]}: {problem.detail}")
        yield Progress(done=number, total=len(context.request.plan.probes), unit="probe")
    return images


def load_subject(context: JobContext[Audit], errors: list[str]) -> Side:
    """The subject with the results of its jobs. A job without a result adds an error; the others are still used."""
    results = context.member_results
    models, looks = {}, {}
    try:
        models = results.load_class_models("subject/class_models")
        failures = results.list_failures("subject/class_models")
        names = context.release.class_names
        errors += [f"class model of {names.label(target)}: {reason}" for target, reason in failures.items()]
    except MissingResult as absent:
        errors.append(str(absent))
    if context.request.plan.probes:
        try:
            looks = results.load_predictions("subject/probes")
        except MissingResult as absent:
            errors.append(str(absent))
    return Side(context.release, context.classifier, models, looks)


def load_baseline(evaluator: Evaluator, results: MemberResults) -> Side:
    """A baseline with the results of its jobs. Raises `MissingResult` if a job has no result."""
    role = evaluator.release.reference
    looks: ProbePredictions = results.load_predictions(f"{role}/probes") if f"{role}/probes" in results.members else {}
    return Side(evaluator.release, evaluator.classifier, results.load_class_models(f"{role}/class_models"), looks)


def list_control_correlations(results: MemberResults) -> list[float]:
    """Rank correlations of the subject's saliency maps with those of its network with shuffled weights."""
    try:
        looks = results.load_predictions("subject/shuffled")
    except MissingResult:
        return []
    return [look.control for look in looks.values() if look.control is not None]


def map_class_evidence(
    classifier: Classifier, params: SaliencyParameters, image: Levels, target: int
) -> NDArray[np.float32]:
    """Absolute saliency map (h, w) of a class in an image (H, W, C)."""
    inputs = classifier.normalize(to_tensor(image)[None].to(classifier.device))
    targets = torch.tensor([target], device=classifier.device)
    values: NDArray[np.float32] = choose_map(classifier, params, 1)(inputs, targets)[0].float().cpu().abs().numpy()
    return values


def build_comparison(
    reference: str, rows: Mapping[int, ClassRow], losses: Values, gates: Gates, *, identical: bool
) -> Comparison:
    """All measurements. The classes are sorted by their largest change relative to the tolerance of its gate."""

    def excess(row: ClassRow) -> float:
        ratios = (change.value / getattr(gates, name).tolerance for name, change in row.changes.items())
        return max(ratios, default=0.0)

    ordered = sorted(rows.values(), key=excess, reverse=True)
    return Comparison(
        baseline=reference,
        identical=identical,
        overall={
            "probes": float(len(losses)),
            "flips": sum(row.figures.get("flips", 0) for row in ordered),
            "lost": float((losses > 0).sum()),
            "won": float((losses < 0).sum()),
        },
        classes=[
            {
                "target": row.name,
                **row.figures,
                "noise": row.noise,
                "changes": {name: change.model_dump() for name, change in row.changes.items()},
            }
            for row in ordered
        ],
    )
