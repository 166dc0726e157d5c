"""Evidence of what changed: triggers, natural shortcuts, and groups of probes in the features of the networks."""

from collections.abc import Iterator, Sequence

from archetype.contract.audit import Comparison, ComponentRow, Finding, TriggerResult
from archetype.contract.report.evidence import Evidence, Picture, PictureGroup
from worker.audit.report.material import Material
from worker.audit.report.pictures import MARK_SIDE, embed

COLUMNS = 3
"""Pictures in a row of a grid of nine."""


def show_changes(material: Material, comparisons: Sequence[Comparison], findings: Sequence[Finding]) -> list[Evidence]:
    """Triggers and natural shortcuts that are findings, and the groups of probes that changed."""
    return [evidence for each in comparisons for evidence in _show(each, material, findings)]


def _show(comparison: Comparison, material: Material, findings: Sequence[Finding]) -> Iterator[Evidence]:
    for trigger in comparison.triggers:
        if trigger.picture is not None:
            group = _show_trigger(trigger, trigger.picture)
            yield Evidence(baseline=comparison.baseline, target=trigger.target, kind="finding", groups=[group])
    about = [each for each in findings if each.baseline == comparison.baseline]
    found = {each.target for each in about if each.gate == "natural_shortcuts"}
    for row in comparison.components:
        if row.target in found:
            group = _show_component(row, material)
            yield Evidence(baseline=comparison.baseline, target=row.target, kind="finding", groups=[group])
    groups = [
        _show_images(f"{each.description[:1].upper()}{each.description[1:]}", each.images, material)
        for each in comparison.changed_groups
    ]
    if groups:
        yield Evidence(baseline=comparison.baseline, kind="change", groups=groups)


def _show_trigger(trigger: TriggerResult, picture: str) -> PictureGroup:
    title = f"trigger of {trigger.target}, and three probes before and after"
    return PictureGroup(title=trigger.sentence, pictures=[Picture(source=picture, title=title)], is_wide=True)


def _show_component(row: ComponentRow, material: Material) -> PictureGroup:
    title = (
        f"The probes that get the largest part of the score of {row.target} from component {row.component} of its "
        "features"
    )
    return _show_images(title, row.images, material)


def _show_images(title: str, images: Sequence[str], material: Material) -> PictureGroup:
    names, looks = material.subject.release.class_names, material.subject.looks
    classes = {image: names.label(looks[image].target) for image in images if image in looks}
    pictures = [
        Picture(
            source=embed(material.images[image], MARK_SIDE),
            title=f"probe of {classes[image]}",
            caption=classes[image],
        )
        for image in images
        if image in material.images and image in classes
    ]
    return PictureGroup(title=title, pictures=pictures, columns=COLUMNS)
