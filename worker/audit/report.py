"""Report of an audit in four formats: HTML with embedded images, JSON, JUnit XML, and a summary in Markdown."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from archetype.contract.audit import Finding, Report
from archetype.contract.audit_plan import Gates
from worker.audit.compare import ClassRow, Side
from worker.audit.shortcut import Mark
from worker.engine.render import RGBImage, flatten_channels, render_overlay
from worker.inputs.preprocess import Levels
from worker.job.member_results import DrawnModel, ProbePrediction

IMAGE_SIDE, MARK_SIDE = 112, 72
"""Longer side of the embedded images and marks in pixels."""

MAX_CLASSES, MAX_PROBES = 60, 6
"""Largest number of classes with images in the HTML report, and of probes per class. The JSON contains all figures."""


@dataclass(frozen=True)
class Case:
    """Comparison with one baseline, for the report.

    Attributes:
        subject: The audited release.
        baseline: The baseline.
        rows: Measurements by class index.
    """

    subject: Side
    baseline: Side
    rows: Mapping[int, ClassRow]


@dataclass(frozen=True)
class Evidence:
    """Data for the images in the HTML report.

    Attributes:
        cases: The comparisons.
        images: Images of the probes at the network's input size, each (H, W, C), by image id.
        map_class: Absolute saliency map (h, w) of a class for the subject, from an image (H, W, C) and a class index.
    """

    cases: Sequence[Case]
    images: Mapping[str, Levels]
    map_class: Callable[[Levels, int], NDArray[np.float32]]


def write_report(report: Report, summary: str, evidence: Evidence) -> dict[str, bytes]:
    """The files of the report by name."""
    return {
        "report.json": report.model_dump_json(indent=1).encode(),
        "report.html": write_html(report, summary, evidence).encode(),
        "junit.xml": write_junit(report),
        "summary.md": write_markdown(report, summary).encode(),
    }


def write_html(report: Report, summary: str, evidence: Evidence) -> str:
    """The report as one HTML file that contains all of its images and loads nothing."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((resources.files("worker.audit") / "report.html").read_text())
    cases = [_describe_case(case, report, evidence) for case in evidence.cases]
    gates = [(name, getattr(report.plan.gates, name), field.description) for name, field in Gates.model_fields.items()]
    return template.render(report=report, summary=summary, cases=cases, gates=gates)


def _describe_case(case: Case, report: Report, evidence: Evidence) -> dict[str, Any]:
    """Template values of a comparison; classes with findings come first."""
    reference = case.baseline.release.reference
    comparison = next(each for each in report.comparisons if each.baseline == reference)
    flagged = dict.fromkeys(
        finding.target for finding in report.findings if finding.baseline == reference and finding.target is not None
    )
    order = list(dict.fromkeys([*flagged, *(row["target"] for row in comparison.classes)]))
    rows = sorted(case.rows.values(), key=lambda row: order.index(row.name))
    return {
        "comparison": comparison,
        "classes": [
            _describe_class(row, case, report, evidence, is_flagged=row.name in flagged) for row in rows[:MAX_CLASSES]
        ],
        "more": max(0, len(rows) - MAX_CLASSES),
        "grids": [
            {"description": group.description, "images": _embed_all(group.images, evidence)}
            for group in comparison.changed_groups
        ],
        "components": [
            {"row": row, "images": _embed_all(row.images, evidence)}
            for row in comparison.components
            if any(each.gate == "natural_shortcuts" and each.target == row.target for each in report.findings)
        ],
    }


def _embed_all(images: Sequence[str], evidence: Evidence) -> list[str]:
    return [_embed(evidence.images[image], MARK_SIDE) for image in images if image in evidence.images]


def _describe_class(
    row: ClassRow, case: Case, report: Report, evidence: Evidence, *, is_flagged: bool
) -> dict[str, Any]:
    reference, mark = case.baseline.release.reference, row.mark
    return {
        "name": row.name,
        "findings": [each for each in report.findings if each.target == row.name and each.baseline == reference],
        "subject": [_describe_model(model) for model in case.subject.models.get(row.target, [])],
        "baseline": [_describe_model(model) for model in case.baseline.models.get(row.target, [])],
        "mark": _describe_mark(mark, row.target, evidence) if is_flagged and mark is not None else None,
        "probes": _describe_probes(row.target, case, evidence.images) if is_flagged else [],
        "figures": row.figures,
        "changes": row.changes,
    }


def _describe_mark(mark: Mark, target: int, evidence: Evidence) -> dict[str, str]:
    overlay = render_overlay(flatten_channels(mark.example), evidence.map_class(mark.example, target))
    return {
        "mark": _embed(mark.pixels, MARK_SIDE, sharp=True),
        "example": _embed(mark.example, IMAGE_SIDE),
        "overlay": _embed(overlay, IMAGE_SIDE),
    }


def _describe_model(model: DrawnModel) -> dict[str, Any]:
    image = _embed(model.pixels, IMAGE_SIDE)
    return {"image": image, "seed": model.seed, "probability": model.verdict["probability"]}


def _describe_probes(target: int, case: Case, images: Mapping[str, Levels]) -> list[dict[str, Any]]:
    """The probes of a class whose probability fell most, with the saliency maps of both networks."""
    pairs = [
        (look, case.baseline.looks[image])
        for image, look in case.subject.looks.items()
        if look.target == target and image in case.baseline.looks and image in images and look.is_mapped
    ]
    pairs.sort(key=lambda pair: pair[0].verdict["probability"] - pair[1].verdict["probability"])
    return [
        {
            "image": _embed(images[subject.image], IMAGE_SIDE),
            "subject": _embed_overlay(subject, images[subject.image]),
            "baseline": _embed_overlay(baseline, images[subject.image]),
            "subject_predicts": _describe_prediction(subject),
            "baseline_predicts": _describe_prediction(baseline),
        }
        for subject, baseline in pairs[:MAX_PROBES]
    ]


def _embed_overlay(look: ProbePrediction, levels: Levels) -> str:
    return _embed(render_overlay(flatten_channels(levels), look.view), IMAGE_SIDE)


def _describe_prediction(look: ProbePrediction) -> dict[str, str]:
    predicted = look.verdict["predicted"]
    return {"name": predicted["name"], "probability": f"{predicted['probability']:.0%}"}


def _embed(levels: Levels | RGBImage, side: int, *, sharp: bool = False) -> str:
    """An image (H, W, C) as a `data:` URL, resized to a longer side of about `side` pixels."""
    image = Image.fromarray(np.ascontiguousarray(flatten_channels(levels)))
    scale = side / max(image.size)
    kernel = Image.Resampling.NEAREST if sharp else Image.Resampling.BICUBIC
    image = image.resize((round(image.width * scale), round(image.height * scale)), kernel)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, lossless=sharp)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def write_junit(report: Report) -> bytes:
    """JUnit XML with a test case for each gate and baseline, so that a CI pipeline lists the gates that failed."""
    suite = ElementTree.Element("testsuite", name=f"audit of {report.subject}", timestamp=report.created_at.isoformat())
    gates = [name for name in Gates.model_fields if getattr(report.plan.gates, name).severity != "off"]
    for baseline in report.baselines or [""]:
        classname = f"{report.subject} compared with {baseline}" if baseline else report.subject
        for gate in gates:
            case = ElementTree.SubElement(suite, "testcase", classname=classname, name=gate)
            _add_junit_result(case, report, gate, baseline)
    for error in report.errors:
        case = ElementTree.SubElement(suite, "testcase", classname=report.subject, name="evaluation")
        ElementTree.SubElement(case, "error", message=error)
    results = {"tests": "testcase", "failures": ".//failure", "errors": ".//error", "skipped": ".//skipped"}
    suite.attrib.update({name: str(len(suite.findall(path))) for name, path in results.items()})
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _add_junit_result(case: ElementTree.Element, report: Report, gate: str, baseline: str) -> None:
    """Adds the result of a gate to its test case: skipped, failed, or passed with warnings."""
    findings = [each for each in report.findings if each.gate == gate and each.baseline in (baseline, None)]
    failures = [finding for finding in findings if finding.severity == "fail"]
    difference = next(
        (each.why for each in report.comparisons if each.baseline == baseline and not each.comparable), None
    )
    if difference is not None:
        ElementTree.SubElement(case, "skipped", message=difference)
    elif failures:
        failure = ElementTree.SubElement(case, "failure", message=failures[0].reason)
        failure.text = "\n".join(finding.reason for finding in failures)
    elif findings:
        output = ElementTree.SubElement(case, "system-out")
        output.text = "\n".join(f"{finding.severity}: {finding.reason}" for finding in findings)


def write_markdown(report: Report, summary: str) -> str:
    """A summary for a comment on a merge request."""
    compared = f" compared with {', '.join(report.baselines)}" if report.baselines else ""
    lines = [f"## Audit of {report.subject}{compared}: **{report.verdict}**", "", f"{summary}.", ""]
    if report.findings:
        lines += [
            "| severity | gate | class | baseline | change (confidence interval) | tolerance | finding |",
            "|---|---|---|---|--:|--:|---|",
        ]
        lines += [_write_row(finding) for finding in report.findings]
        lines.append("")
    lines += [f"- not evaluated: {error}" for error in report.errors]
    lines += ["", f"Plan {report.plan.name} ({report.plan_version}). To run the audit again: `{report.rerun}`", ""]
    return "\n".join(lines)


def _write_row(finding: Finding) -> str:
    change = finding.change
    cells = (
        finding.severity,
        finding.gate,
        finding.target or "all",
        finding.baseline or "",
        "" if change is None else f"{change.value:.2f} ({change.low:.2f} to {change.high:.2f})",
        "" if finding.tolerance is None else f"{finding.tolerance:g}",
        finding.reason,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
