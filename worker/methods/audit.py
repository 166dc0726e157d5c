"""Method `audit`: compares the results of an audit's jobs, decides the verdict, and writes the report."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from archetype.contract.audit import ALL, Comparison, Finding
from archetype.contract.audit_plan import Gates
from archetype.contract.job import Progress
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.report.document import Report
from archetype.contract.request import Audit
from shared.audits.identical_report import list_not_run
from shared.audits.report.outcome import describe_outcome
from shared.lifecycle.audit_jobs import explain_difference
from worker.attribution.saliency_maps import choose_map
from worker.audit.checks.run import run_checks
from worker.audit.compare import ClassRow, Side, compare_classes, count_losses, have_same_weights
from worker.audit.files import write_report
from worker.audit.gates import apply_waivers, check_accuracy, check_baselines, check_classes, check_sanity
from worker.audit.maps.faithfulness import MapPlan
from worker.audit.maps.probe_maps import list_probes, map_side, plan_maps
from worker.audit.report.compose import Results, compose_report
from worker.audit.report.material import Case, Material
from worker.audit.sides import (
    NEED_MODELS,
    add_judge,
    explain_no_models,
    is_known_identical,
    load_baseline,
    load_probes,
    load_subject,
)
from worker.audit.statistics import Values, estimate_mean
from worker.audit.triggers.gate import compare_triggers
from worker.engine.model.classifier import Classifier
from worker.inputs.preprocess import Levels, to_tensor
from worker.inputs.view import View
from worker.job.context import Evaluator, JobContext
from worker.job.member_results import MissingResult


@dataclass(frozen=True)
class Compared:
    """Result of the comparison with a baseline.

    Attributes:
        comparison: The measurements.
        findings: The changes that exceed a gate.
        case: What the evidence is made from; None if the releases cannot be compared.
    """

    comparison: Comparison
    findings: Sequence[Finding] = ()
    case: Case | None = None


def run(context: JobContext[Audit]) -> Generator[Progress, Any, dict[str, Any]]:
    """Compares the subject with every baseline, applies the gates, and writes the report."""
    errors = list[str]()
    views = yield from load_probes(context, errors)
    subject = load_subject(context, errors)
    maps = yield from plan_maps(context, subject, views)
    if maps.is_computed:
        subject = yield from map_side(subject, maps, views)
    compared: list[Compared] = []
    for evaluator in context.evaluators:
        try:
            compared.append((yield from compare_with(evaluator, subject, context, views, maps, done=len(compared))))
        except MissingResult as absent:
            errors.append(str(absent))
    images = {image: view.levels for image, view in views.items()}
    report = build_report(context, subject, compared, maps, errors, images)
    for name, data in write_report(report).items():
        context.save(name, data)
    return describe_outcome(report)


def build_report(
    context: JobContext[Audit],
    subject: Side,
    compared: Sequence[Compared],
    maps: MapPlan,
    errors: list[str],
    images: dict[str, Levels],
) -> Report:
    """The document of the report."""
    audit, plan, now = context.request, context.request.plan, datetime.now(UTC)
    found = [finding for result in compared for finding in result.findings]
    found += check_sanity(subject, maps.correlations, plan.gates)
    found += check_baselines(audit.standings, plan.gates)
    findings = apply_waivers(found, plan.waivers, context.release.class_names, now.date())
    comparisons = [result.comparison for result in compared]
    not_run = [] if context.member_results.members else list_not_run(plan, context.release)
    results = Results(comparisons, findings, errors, maps, context.member_results, not_run)
    cases = [result.case for result in compared if result.case is not None]
    map_class = partial(map_class_evidence, context.classifier, maps.params)
    return compose_report(audit, results, Material(subject, cases, images, map_class), now)


def compare_with(
    evaluator: Evaluator,
    subject: Side,
    context: JobContext[Audit],
    views: Mapping[str, View],
    maps: MapPlan,
    *,
    done: int,
) -> Generator[Progress, Any, Compared]:
    """Compares the subject with a baseline.

    Args:
        evaluator: The baseline with its network.
        subject: The audited release.
        context: Context of the audit's job.
        views: The probes as the networks see them, by image id.
        maps: How the probes are mapped.
        done: Number of baselines that are already compared.

    Raises:
        MissingResult: A job of the baseline has no result.
    """
    plan, reference = context.request.plan, evaluator.release.reference
    difference = explain_difference(context.release, evaluator.release)
    if difference is not None:
        return Compared(Comparison(baseline=reference, comparable=False, why=difference))
    if is_known_identical(evaluator, subject, context.member_results):
        same = Comparison(baseline=reference, identical=True, why="all weights are equal after loading")
        return Compared(same, case=Case(Side(evaluator.release, evaluator.classifier, {}, {}), {}))
    baseline = load_baseline(evaluator, context.member_results)
    counted = Progress(done=done, total=len(context.evaluators), unit="baseline")
    subject = yield from add_judge(subject, evaluator, counted)
    baseline = yield from add_judge(baseline, Evaluator(context.release, context.classifier), counted)
    results = context.member_results
    noise_models = results.load_class_models(f"{reference}/noise") if results.has(f"{reference}/noise") else {}
    if maps.is_computed:
        baseline = yield from map_side(baseline, maps, views)
    probes, images = list_probes(plan, maps), {image: view.levels for image, view in views.items()}
    rows: dict[int, ClassRow] = {}
    for measured in compare_classes(subject, baseline, noise_models, images, probes=probes):
        rows = measured
        yield counted
    losses = count_losses(subject.looks, baseline.looks)
    identical = have_same_weights(subject, baseline)
    checked = yield from run_checks(subject, baseline, plan, views)
    triggers = yield from compare_triggers(subject, baseline, images, plan.gates.trigger, searches=context.searches)
    comparison = build_comparison(reference, rows, losses, plan.gates, identical=identical)
    reasons = {"focus": maps.abstention, "trigger": triggers.abstained}
    reasons |= dict.fromkeys(NEED_MODELS, explain_no_models(subject, baseline))
    comparison = comparison.model_copy(
        update={
            **checked.fields,
            "changes": {**comparison.changes, **checked.changes, **triggers.changes},
            "abstentions": {gate: reason for gate, reason in reasons.items() if reason is not None},
            "triggers": triggers.results,
            "triggers_reused": triggers.reused,
            "left_out": list(triggers.left_out),
        }
    )
    findings = [*check_classes(rows.values(), plan, reference), *check_accuracy(losses, plan, reference)]
    return Compared(comparison, [*findings, *checked.findings, *triggers.findings], Case(baseline, rows))


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
        changes={"accuracy": {ALL: estimate_mean(losses)}} if len(losses) > 1 else {},
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
