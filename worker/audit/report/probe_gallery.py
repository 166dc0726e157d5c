"""The gallery of probes: each with its file name, digest, and the predictions of all releases."""

from archetype.contract.audit_plan import AuditPlan
from archetype.contract.report.measurements import Prediction, ProbeResult
from worker.audit.compare import Side
from worker.audit.report.material import Material
from worker.audit.report.pictures import THUMBNAIL_SIDE, embed
from worker.job.member_results import ProbePrediction

MAX_THUMBNAILS, MAX_PROBES = 120, 2000
"""Largest number of probes with a thumbnail, and of probes in the report."""


def list_probes(plan: AuditPlan, material: Material) -> list[ProbeResult]:
    """The probes; first those whose predictions differ, then those that the subject classifies wrongly."""
    names = {probe.id: probe.name for probe in plan.probes}
    rows = [_describe(image, look, names.get(image), material) for image, look in material.subject.looks.items()]
    rows.sort(key=_rank)
    return [
        row.model_copy(update={"thumbnail": embed(material.images[row.id], THUMBNAIL_SIDE)})
        if place < MAX_THUMBNAILS and row.id in material.images
        else row
        for place, row in enumerate(rows[:MAX_PROBES])
    ]


def _describe(image: str, look: ProbePrediction, name: str | None, material: Material) -> ProbeResult:
    return ProbeResult(
        id=image,
        name=name,
        target=material.subject.release.class_names.label(look.target),
        predictions=[_predict(side, side.looks[image]) for side in material.sides if image in side.looks],
    )


def _predict(side: Side, look: ProbePrediction) -> Prediction:
    predicted = look.verdict["predicted"]
    return Prediction(
        release=side.release.reference,
        predicted=side.release.class_names.label(predicted["index"]),
        probability=float(predicted["probability"]),
        correct=look.right,
    )


def _rank(row: ProbeResult) -> tuple[int, bool, float]:
    subject, *_ = row.predictions
    return -len({each.predicted for each in row.predictions}), subject.correct, subject.probability
