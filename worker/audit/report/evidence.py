"""Evidence: pictures of the classes, those with findings first."""

from collections.abc import Iterator, Sequence

from archetype.contract.audit import Finding
from archetype.contract.report.evidence import Evidence, Picture, PictureGroup
from worker.audit.compare import ClassRow, Side
from worker.audit.report.material import Case, Material
from worker.audit.report.pictures import IMAGE_SIDE, MARK_SIDE, embed
from worker.audit.shortcut import SMALL, Mark
from worker.engine.heat_map import render_overlay
from worker.engine.render import flatten_channels
from worker.inputs.preprocess import Levels
from worker.job.member_results import ProbePrediction

MAX_CLASSES, MAX_PROBES = 60, 4
"""Largest number of classes with pictures, and of probes per class. `report.json` has the figures of all classes."""


def show_classes(material: Material, findings: Sequence[Finding]) -> list[Evidence]:
    """Pictures of the classes: of those with findings in the order of the findings, then of the others."""
    return [evidence for case in material.cases for evidence in _show_case(case, material, findings)]


def _show_case(case: Case, material: Material, findings: Sequence[Finding]) -> Iterator[Evidence]:
    flagged = list(
        dict.fromkeys(each.target for each in findings if each.baseline == case.reference and each.target is not None)
    )
    order = {name: place for place, name in enumerate(flagged)}
    rows = sorted(case.rows.values(), key=lambda row: order.get(row.name, len(order)))
    for row in rows[:MAX_CLASSES]:
        groups = [*_show_models(row.target, [material.subject, case.baseline])]
        if row.name in order:
            groups = [*_show_mark(row, case, material), *groups, *_show_probes(row.target, case, material)]
        if groups:
            kind = "finding" if row.name in order else "reference"
            yield Evidence(baseline=case.reference, target=row.name, kind=kind, groups=groups)


def _show_models(target: int, sides: Sequence[Side]) -> Iterator[PictureGroup]:
    for side in sides:
        name, reference = side.release.class_names.label(target), side.release.reference
        pictures = [
            Picture(
                source=embed(model.pixels, IMAGE_SIDE),
                title=f"class visualization of {name} by {reference}, seed {model.seed}",
                caption=f"seed {model.seed}: {model.verdict['probability']:.0%}",
            )
            for model in side.models.get(target, [])
        ]
        if pictures:
            title = f"Class visualizations of {name} by {reference}, with the probability of the class"
            yield PictureGroup(title=title, pictures=pictures)


def _show_mark(row: ClassRow, case: Case, material: Material) -> Iterator[PictureGroup]:
    """The mark with the largest effect, the image with it, and where the subject looks."""
    mark, subject = row.mark, material.subject.release.reference
    if mark is None:
        return
    overlay = render_overlay(flatten_channels(mark.example), material.map_class(mark.example, row.target))
    yield PictureGroup(
        title=_describe_mark(row, mark, subject, case.reference),
        pictures=[
            Picture(source=embed(mark.pixels, MARK_SIDE, sharp=True), title="the mark, enlarged", caption="the mark"),
            Picture(
                source=embed(mark.example, IMAGE_SIDE),
                title=f"a probe of another class with {mark.name}",
                caption="a probe of another class with the mark",
            ),
            Picture(
                source=embed(overlay, IMAGE_SIDE),
                title=f"saliency map of {subject} for {row.name}",
                caption=f"saliency map of {subject} for {row.name}",
            ),
        ],
    )


def _describe_mark(row: ClassRow, mark: Mark, subject: str, baseline: str) -> str:
    turned, baseline_turned = row.figures["subject_turned"], row.figures["baseline_turned"]
    if mark.name == SMALL:
        return (
            f"The mark with the largest effect. In a corner of {len(mark.subject)} probes of other classes, it makes "
            f"{subject} predict {row.name} at {turned:.0%} of the positions, and {baseline} at {baseline_turned:.0%}"
        )
    return (
        f"The mark with the largest effect: {mark.name}. {subject} predicts {row.name} for {turned:.0%} of "
        f"{len(mark.subject)} probes of other classes with it, and {baseline} for {baseline_turned:.0%}"
    )


def _show_probes(target: int, case: Case, material: Material) -> Iterator[PictureGroup]:
    """The probes of a class whose probability fell most, with the saliency maps of both networks."""
    subject, baseline, images = material.subject, case.baseline, material.images
    pairs = [
        (look, baseline.looks[image])
        for image, look in subject.looks.items()
        if look.target == target and image in baseline.looks and image in images and look.is_mapped
    ]
    pairs.sort(key=lambda pair: pair[0].verdict["probability"] - pair[1].verdict["probability"])
    if pairs:
        yield PictureGroup(
            title=f"Probes of {subject.release.class_names.label(target)} whose probability fell most: the image, and "
            "the saliency maps of both releases with their predictions",
            pictures=[
                picture
                for pair in pairs[:MAX_PROBES]
                for picture in _show_pair(images[pair[0].image], list(zip((subject, baseline), pair, strict=True)))
            ],
            columns=3,
        )


def _show_pair(levels: Levels, looks: Sequence[tuple[Side, ProbePrediction]]) -> Iterator[Picture]:
    yield Picture(source=embed(levels, IMAGE_SIDE), title="probe", caption="the probe")
    for side, look in looks:
        reference, predicted = side.release.reference, look.verdict["predicted"]
        overlay = render_overlay(flatten_channels(levels), look.view)
        name = side.release.class_names.label(predicted["index"])
        caption = f"{reference}: {name} {predicted['probability']:.0%}"
        yield Picture(source=embed(overlay, IMAGE_SIDE), title=f"saliency map of {reference}", caption=caption)
