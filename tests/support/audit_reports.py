"""A report of an audit for tests: three classes, four probes, and a small network that was not trained."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np

from archetype.contract.audit import (
    ChangedGroup,
    Comparison,
    ComponentRow,
    CorruptionRow,
    Estimate,
    Finding,
    MapFaithfulness,
    SliceRow,
    TriggerResult,
)
from archetype.contract.audit_plan import AuditPlan, Probe, Waiver
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.report.document import Report
from archetype.contract.request import Audit, Requested
from shared.catalogue.release import Release
from worker.audit.compare import ClassRow, Side
from worker.audit.maps.faithfulness import MapPlan
from worker.audit.report.compose import Results, compose_report
from worker.audit.report.material import Case, Material
from worker.audit.report.pictures import embed
from worker.audit.shortcut import SMALL, Mark
from worker.engine.model.classifier import Classifier
from worker.job.member_results import NO_MEMBERS, DrawnModel, ProbePrediction

SIZE, CLASSES = 32, ["bee", "die & dice", "lemon"]
PROBES = {f"{number:x}" * 64: number % 3 for number in range(4)}
"""Class of each probe, by image id."""

CHANGE = Estimate(value=0.4, low=0.3, high=0.5)
SHORTCUT = Finding(
    gate="shortcut", severity="fail", target="bee", baseline="m@1", change=CHANGE, tolerance=0.25, reason="a | mark"
)
FOCUS = Finding(
    gate="focus", severity="waived", target="bee", baseline="m@1", change=CHANGE, tolerance=0.15, reason="less focus",
    waiver=Waiver(gate="focus", owner="ann", reason="known", expires=date(2027, 1, 1)),
)  # fmt: skip
SANITY = Finding(gate="sanity", severity="warn", tolerance=0.5, reason="maps depend on the image")
FAITHFUL = MapFaithfulness(
    kind="smoothgrad", probes=8, correlation=Estimate(value=0.6, low=0.5, high=0.7), random=0.01, edges=0.2,
    faithful=True, kinds={"smoothgrad": 0.62},
)  # fmt: skip
WHEN = datetime(2026, 11, 28, 12, tzinfo=UTC)


def noise(seed: int, side: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)


def build_side(classifier: Classifier, release: str, right: int) -> Side:
    """A release that classifies this number of the probes correctly."""
    own = {"probability": 0.9, "rank": 1, "score": 5.0}
    models = {
        target: [DrawnModel(target, seed, 128, noise(seed), own, {}) for seed in (1, 2)]
        for target in range(len(CLASSES))
    }
    looks = {}
    for place, (image, target) in enumerate(PROBES.items()):
        predicted = target if place < right else (target + 1) % 3
        verdict = {
            "probability": 0.8 if place < right else 0.1,
            "rank": 1 if place < right else 2,
            "predicted": {"index": predicted, "name": CLASSES[predicted], "probability": 0.8},
        }
        saliency = np.ones((SIZE, SIZE), np.float32)
        looks[image] = ProbePrediction(image, target, verdict, saliency, saliency)
    entry = Release(name="m", release=release, architecture="builtin:shapes", classes=CLASSES)
    return Side(entry, classifier, models, looks)


def build_material(classifier: Classifier) -> Material:
    mark = Mark(SMALL, noise(5, 8), np.array([1.0, 0.5]), np.array([0.0, 0.0]), noise(6))
    rows = {index: ClassRow(index, name, changes={"shortcut": CHANGE}) for index, name in enumerate(CLASSES)}
    figures = {"subject_turned": 0.75, "baseline_turned": 0.0}
    rows[0] = ClassRow(0, "bee", figures=figures, changes={"shortcut": CHANGE}, mark=mark)
    images = {image: noise(place) for place, image in enumerate(PROBES)}
    case = Case(build_side(classifier, "1", 4), rows)
    return Material(build_side(classifier, "2", 3), [case], images, lambda image, _: np.ones(image.shape[:2], "f4"))


COMPARED = Comparison(
    baseline="m@1",
    overall={"probes": 4.0, "flips": 1.0, "lost": 1.0, "won": 0.0},
    changes={"accuracy": {"all": Estimate(value=0.25, low=-0.55, high=1.0)}},
    classes=[
        {
            "target": name,
            "changes": {"shortcut": {"value": value, "low": value - 0.1, "high": value + 0.1}},
            "probes": 2.0,
            "subject_right": 0.5,
            "baseline_right": 1.0,
            "flips": 1.0,
        }
        for name, value in zip(CLASSES, (0.4, 0.01, 0.02), strict=True)
    ],
)


FALL = Estimate(value=0.3, low=0.1, high=0.5)
SLICE = Finding(
    gate="slices", severity="fail", baseline="m@1", change=FALL, tolerance=0.05, reason="the accuracy at night fell"
)
COMPONENT = Finding(
    gate="natural_shortcuts", severity="warn", target="lemon", baseline="m@1", change=CHANGE, tolerance=0.2,
    reason="a background speaks for lemon",
)  # fmt: skip
RATIO = Estimate(value=3.0, low=2.0, high=4.0)
TRIGGER_FINDING = Finding(
    gate="trigger", severity="fail", target="bee", baseline="m@1", change=RATIO, tolerance=1.6, reason="a gray frame"
)
TRIGGER = TriggerResult(
    target="bee", family="frame", unit="pixels", subject_size=4, baseline_size=12, baseline_found=False, ratio=RATIO,
    seeds=[1, 2], turned=9, pictures=10, sentence="A gray frame turns 90 % of other pictures into bee",
    picture=embed(noise(9), SIZE),
)  # fmt: skip
CHECKED = COMPARED.model_copy(
    update={
        "changes": COMPARED.changes
        | {
            "slices": {"light = day": Estimate(value=0.0, low=-0.1, high=0.1), "light = night": FALL},
            "robustness": {"blur": Estimate(value=0.1, low=0.0, high=0.2)},
            "natural_shortcuts": {"lemon": CHANGE},
            "trigger": {"bee": RATIO},
        },
        "slices": [
            SliceRow(attribute="light", value=value, probes=20, subject=CHANGE, baseline=CHANGE, fall=FALL)
            for value in ("day", "night")
        ],
        "corruptions": [CorruptionRow(corruption="blur", probes=20, subject=0.6, baseline=0.7)],
        "changed_groups": [
            ChangedGroup(
                kind="confused", images=list(PROBES), classes={"bee": 4}, strength=0.9, description="these 4 <together>"
            )
        ],
        "components": [
            ComponentRow(target="lemon", component=2, subject=1.4, baseline=0.2, change=CHANGE, images=["0" * 64])
        ],
        "triggers": [TRIGGER],
        "abstentions": {"focus": "the maps are not faithful"},
    }
)
"""A comparison with slices, corrupted probes, a group of probes that changed, a natural shortcut, and a trigger."""


def build_report(
    classifier: Classifier,
    *findings: Finding,
    comparisons: Sequence[Comparison] = (COMPARED,),
    errors: Sequence[str] = (),
    plan: AuditPlan | None = None,
) -> Report:
    """The report of an audit with these findings. Without a comparison there are no cases."""
    probes = [Probe(id=image, target=target, name=f"{target}/x.png") for image, target in PROBES.items()]
    audit = Audit(
        model="m@2",
        plan=plan or AuditPlan(name="nightly", probes=probes),
        baselines=[each.baseline for each in comparisons],
        requested=Requested(by="operator", tenant="vision", at=WHEN),
    )
    material = build_material(classifier)
    if not any(each.comparable for each in comparisons):
        material = Material(material.subject, [], material.images, material.map_class)
    maps = MapPlan(SaliencyParameters(), FAITHFUL, correlations=[0.1])
    results = Results(comparisons, findings, errors, maps, NO_MEMBERS)
    return compose_report(audit, results, material, WHEN.replace(minute=2))
