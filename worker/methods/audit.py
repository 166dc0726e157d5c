"""`audit`: what the jobs of an audit come to."""

from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.audits import Comparison, Report, explain_difference
from shared.errors import Problem
from shared.jobs import Progress
from shared.methods import Audit
from shared.parameters.audit import Gates
from worker.audit.compare import ClassRow, Side, compare_classes, count_losses, have_same_weights
from worker.audit.evidence import Absent, Evidence, Looks
from worker.audit.gates import check_sanity, decide, find_in_all, find_in_classes, sum_up, waive
from worker.audit.identity import describe_identity, write_rerun
from worker.audit.report import Case, save_report
from worker.audit.standing import describe_standing
from worker.preprocess import Levels
from worker.task import Judge, Task
from worker.view import crop_levels


def run(task: Task[Audit]) -> Generator[Progress, Any, dict[str, Any]]:
    """Compares the subject with every baseline, holds what changed against the gates, and writes the report."""
    plan, evidence = task.request.plan, task.evidence
    errors: list[str] = []
    probes = yield from load_probes(task, errors)
    subject = gather_side(task, evidence, errors)
    findings, comparisons, cases = [], [], []
    for judge in task.judges:
        why = explain_difference(task.release, judge.release)
        if why is not None:
            comparisons.append(Comparison(baseline=judge.release.reference, comparable=False, why=why))
            continue
        try:
            baseline = find_side(judge, judge.release.reference, evidence)
            again = evidence.series(f"{judge.release.reference}/noise")
        except Absent as absent:
            errors.append(str(absent))
            continue
        known = {probe.id: probe for probe in plan.probes}
        rows: dict[int, ClassRow] = {}
        for compared in compare_classes(subject, baseline, again, probes, boxes=known):
            rows = compared
            yield Progress(done=len(comparisons), total=len(task.judges), unit="baseline")
        losses = count_losses(subject.looks, baseline.looks)
        reference = judge.release.reference
        found = find_in_classes(rows.values(), plan, reference) + find_in_all(losses, plan, reference)
        findings += found
        identical = have_same_weights(subject, baseline)
        comparisons.append(describe_comparison(reference, rows, losses, plan.gates, identical=identical))
        cases.append(Case(subject, baseline, rows))
    findings += check_sanity(subject, find_controls(evidence), plan.gates)
    today = datetime.now(UTC)
    findings = waive(findings, plan.waivers, task.release.classes, today.date())
    verdict = decide(findings, comparisons, errors)
    figures = describe_standing(subject, {probe.id: probe for probe in plan.probes})
    report = Report(
        verdict=verdict, subject=task.release.reference, baselines=task.request.baselines, plan=plan,
        plan_version=plan.version, findings=findings, comparisons=comparisons, errors=errors,
        figures=figures,
        identity=describe_identity(evidence, plan), rerun=write_rerun(task.request), created_at=today,
    )  # fmt: skip
    summary = sum_up(verdict, findings, comparisons, errors)
    save_report(task.save, report, summary, cases, probes)
    listed = [finding.model_dump(mode="json") for finding in findings]
    return {
        "verdict": verdict, "summary": summary, "findings": listed, "errors": errors, "figures": figures,
        "plan": plan.name, "plan_version": plan.version, "baselines": task.request.baselines,
    }  # fmt: skip


def load_probes(task: Task[Audit], errors: list[str]) -> Generator[Progress, Any, dict[str, Levels]]:
    """The pictures of the plan as the networks see them, by id; what cannot be read is an error of its own."""
    found: dict[str, Levels] = {}
    for number, probe in enumerate(task.request.plan.probes, 1):
        try:
            found[probe.id] = crop_levels(task.load_picture(probe.id), task.release.preprocessing)
        except Problem as problem:
            errors.append(f"probe {probe.id[:12]}: {problem.detail}")
        yield Progress(done=number, total=len(task.request.plan.probes), unit="probe")
    return found


def gather_side(task: Task[Audit], evidence: Evidence, errors: list[str]) -> Side:
    """The subject, with what its jobs have made; what one of them did not is an error, and the rest stands."""
    models, looks = {}, {}
    try:
        models = evidence.series("subject/class_models")
        errors += [f"class model of {name}: {why}" for name, why in evidence.dead("subject/class_models").items()]
    except Absent as absent:
        errors.append(str(absent))
    if task.request.plan.probes:
        try:
            looks = evidence.looks("subject/probes")
        except Absent as absent:
            errors.append(str(absent))
    return Side(task.release, task.classifier, models, looks)


def find_side(judge: Judge, role: str, evidence: Evidence) -> Side:
    """A baseline, with what its jobs have made. Raises `Absent`."""
    looks: Looks = evidence.looks(f"{role}/probes") if f"{role}/probes" in evidence.members else {}
    return Side(judge.release, judge.classifier, evidence.series(f"{role}/class_models"), looks)


def find_controls(evidence: Evidence) -> list[float]:
    """How alike the subject's maps and those of its shuffled weights are."""
    try:
        looks = evidence.looks("subject/shuffled")
    except Absent:
        return []
    return [look.control for look in looks.values() if look.control is not None]


def describe_comparison(
    reference: str, rows: Mapping[int, ClassRow], losses: Any, gates: Gates, *, identical: bool
) -> Comparison:
    """All that was measured; first the class that has changed most, by what is tolerated."""

    def excess(row: ClassRow) -> float:
        shares = (change.value / getattr(gates, name).tolerance for name, change in row.changes.items())
        return max(shares, default=0.0)

    ordered = sorted(rows.values(), key=excess, reverse=True)
    flips = sum(row.figures.get("flips", 0) for row in ordered)
    return Comparison(
        baseline=reference,
        identical=identical,
        overall={
            "probes": float(len(losses)), "flips": flips,
            "lost": float((losses > 0).sum()), "won": float((losses < 0).sum()),
        },
        classes=[
            {
                "target": row.name, **row.figures, "noise": row.noise,
                "changes": {name: change.model_dump() for name, change in row.changes.items()},
            }
            for row in ordered
        ],
    )  # fmt: skip
