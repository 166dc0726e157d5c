"""`audit`: what the jobs of an audit come to."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.audits import Comparison, Finding, Report, explain_difference
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
    compared: list[Compared] = []
    for judge in task.judges:
        try:
            compared.append((yield from compare_with(judge, subject, task, probes, done=len(compared))))
        except Absent as absent:
            errors.append(str(absent))
    comparisons = [one.comparison for one in compared]
    found = [finding for one in compared for finding in one.findings]
    found += check_sanity(subject, find_controls(evidence), plan.gates)
    today = datetime.now(UTC)
    findings = waive(found, plan.waivers, task.release.classes, today.date())
    verdict = decide(findings, comparisons, errors)
    report = Report(
        verdict=verdict, subject=task.release.reference, baselines=task.request.baselines, plan=plan,
        plan_version=plan.version, findings=findings, comparisons=comparisons, errors=errors,
        figures=describe_standing(subject, {probe.id: probe for probe in plan.probes}),
        identity=describe_identity(evidence, plan), rerun=write_rerun(task.request), created_at=today,
    )  # fmt: skip
    summary = sum_up(verdict, findings, comparisons, errors)
    save_report(task.save, report, summary, [one.case for one in compared if one.case is not None], probes)
    said = report.model_dump(
        mode="json", include={"verdict", "findings", "errors", "figures", "plan_version", "baselines"}
    )
    return said | {"summary": summary, "plan": plan.name}


@dataclass(frozen=True)
class Compared:
    """What came of a baseline; a case for the report, where the two can be compared."""

    comparison: Comparison
    findings: Sequence[Finding] = ()
    case: Case | None = None


def compare_with(
    judge: Judge, subject: Side, task: Task[Audit], probes: Mapping[str, Levels], *, done: int
) -> Generator[Progress, Any, Compared]:
    """Holds the subject against a baseline. Raises `Absent` where a job of it has nothing to show."""
    plan, reference = task.request.plan, judge.release.reference
    why = explain_difference(task.release, judge.release)
    if why is not None:
        return Compared(Comparison(baseline=reference, comparable=False, why=why))
    baseline = find_side(judge, reference, task.evidence)
    again = task.evidence.series(f"{reference}/noise")
    known = {probe.id: probe for probe in plan.probes}
    rows: dict[int, ClassRow] = {}
    for compared in compare_classes(subject, baseline, again, probes, boxes=known):
        rows = compared
        yield Progress(done=done, total=len(task.judges), unit="baseline")
    losses = count_losses(subject.looks, baseline.looks)
    identical = have_same_weights(subject, baseline)
    return Compared(
        describe_comparison(reference, rows, losses, plan.gates, identical=identical),
        find_in_classes(rows.values(), plan, reference) + find_in_all(losses, plan, reference),
        Case(subject, baseline, rows),
    )


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
