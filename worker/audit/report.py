"""The report of an audit: one HTML file with its pictures in it, JSON, JUnit XML, and a summary in Markdown."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from jinja2 import Environment, StrictUndefined
from PIL import Image

from shared.audits import Finding, Report
from shared.parameters.audit import Gates
from shared.parameters.saliency import SaliencyParameters
from worker.audit.compare import ClassRow, Side
from worker.audit.evidence import Drawn, Look
from worker.audit.shortcut import Mark
from worker.engine.classifier import Classifier
from worker.engine.render import Pixels, flatten_channels, render_overlay
from worker.mapping import choose_map
from worker.preprocess import Levels, to_tensor
from worker.task import Save

SIDE, PART_SIDE = 112, 72
"""Pixels of a picture of the report, and of a part of one."""

MOST_CLASSES, MOST_PROBES = 60, 6
"""With pictures in the HTML; figures of all are in the JSON."""


@dataclass(frozen=True)
class Case:
    """What a baseline's part of the report is made from."""

    subject: Side
    baseline: Side
    rows: Mapping[int, ClassRow]


def save_report(save: Save, report: Report, summary: str, cases: Sequence[Case], probes: Mapping[str, Levels]) -> None:
    """Every form of the report."""
    save("report.json", report.model_dump_json(indent=1).encode())
    save("report.html", write_html(report, summary, cases, probes).encode())
    save("junit.xml", write_junit(report))
    save("summary.md", write_markdown(report, summary).encode())


def write_html(report: Report, summary: str, cases: Sequence[Case], probes: Mapping[str, Levels]) -> str:
    """One file, with every picture in it and nothing from elsewhere."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((resources.files("worker.audit") / "report.html").read_text())
    shown = [describe_case(case, report, probes) for case in cases]
    return template.render(report=report, summary=summary, cases=shown)


def describe_case(case: Case, report: Report, probes: Mapping[str, Levels]) -> dict[str, Any]:
    """What the page shows of a baseline: the classes that changed most, with their pictures."""
    reference = case.baseline.release.reference
    said = next(one for one in report.comparisons if one.baseline == reference)
    flagged = {one.target: None for one in report.findings if one.baseline == reference and one.target is not None}
    order = list(dict.fromkeys([*flagged, *(row["target"] for row in said.classes)]))
    rows = sorted(case.rows.values(), key=lambda row: order.index(row.name))
    return {
        "comparison": said,
        "classes": [
            _describe_class(row, case, report, probes, full=row.name in flagged) for row in rows[:MOST_CLASSES]
        ],
        "more": max(0, len(rows) - MOST_CLASSES),
    }


def _describe_class(
    row: ClassRow, case: Case, report: Report, probes: Mapping[str, Levels], *, full: bool
) -> dict[str, Any]:
    reference = case.baseline.release.reference
    mark = row.mark if full else None
    shown = None if mark is None else _embed_mark(mark, row.target, case.subject.classifier, report.plan.saliency)
    return {
        "name": row.name,
        "findings": [one for one in report.findings if one.target == row.name and one.baseline == reference],
        "subject": [_embed_model(one) for one in case.subject.models.get(row.target, [])],
        "baseline": [_embed_model(one) for one in case.baseline.models.get(row.target, [])],
        "mark": shown,
        "looks": list(_embed_looks(row.target, case, probes)) if full else [],
        "figures": row.figures,
        "changes": row.changes,
    }


def _embed_mark(mark: Mark, target: int, subject: Classifier, params: SaliencyParameters) -> list[str]:
    """The mark, a picture with it, and where the subject sees the class in that."""
    inputs = subject.normalise(to_tensor(mark.example)[None].to(subject.device))
    slope = choose_map(subject, params, 1)(inputs, torch.tensor([target], device=subject.device))[0].float().cpu()
    overlay = render_overlay(flatten_channels(mark.example), slope.abs().numpy())
    return [_embed(mark.pixels, PART_SIDE, sharp=True), _embed(mark.example, SIDE), _embed(overlay, SIDE)]


def _embed_model(one: Drawn) -> dict[str, Any]:
    return {"picture": _embed(one.pixels, SIDE), "seed": one.seed, "probability": one.verdict["probability"]}


def _embed_looks(target: int, case: Case, probes: Mapping[str, Levels]) -> Sequence[dict[str, Any]]:
    """The probes of a class whose probability fell most, with what both networks look at."""
    both = [
        (look, case.baseline.looks[image])
        for image, look in case.subject.looks.items()
        if look.target == target and image in case.baseline.looks and image in probes
    ]
    both.sort(key=lambda pair: pair[0].verdict["probability"] - pair[1].verdict["probability"])
    return [
        {
            "picture": _embed(probes[ours.image], SIDE),
            "subject": _embed_look(ours, probes[ours.image]), "baseline": _embed_look(theirs, probes[ours.image]),
            "subject_says": _say(ours), "baseline_says": _say(theirs),
        }
        for ours, theirs in both[:MOST_PROBES]
    ]  # fmt: skip


def _embed_look(look: Look, levels: Levels) -> str:
    return _embed(render_overlay(flatten_channels(levels), look.view), SIDE)


def _say(look: Look) -> str:
    predicted = look.verdict["predicted"]
    return f"{predicted['name']} {predicted['probability']:.0%}"


def _embed(levels: Levels | Pixels, side: int, *, sharp: bool = False) -> str:
    """A picture as a `data:` address: no smaller than it is, its longer side about so many pixels."""
    image = Image.fromarray(np.ascontiguousarray(flatten_channels(levels)))
    scale = side / max(image.size)
    kernel = Image.Resampling.NEAREST if sharp else Image.Resampling.BICUBIC
    image = image.resize((round(image.width * scale), round(image.height * scale)), kernel)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, lossless=sharp)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def write_junit(report: Report) -> bytes:
    """A test case per gate and baseline, so that a pipeline lists what failed."""
    names = [name for name in Gates.model_fields if getattr(report.plan.gates, name).severity != "off"]
    places = report.baselines or [""]
    suite = ElementTree.Element("testsuite", name=f"audit of {report.subject}", timestamp=report.created_at.isoformat())
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    incomparable = {one.baseline: one.why or "" for one in report.comparisons if not one.comparable}
    for place in places:
        for name in names:
            counts["tests"] += 1
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{report.subject} beside {place or 'nothing'}", name=name
            )
            found = [one for one in report.findings if one.gate == name and one.baseline in (place, None)]
            failed = [one for one in found if one.severity == "fail"]
            if place in incomparable:
                counts["skipped"] += 1
                ElementTree.SubElement(case, "skipped", message=incomparable[place])
            elif failed:
                counts["failures"] += 1
                told = ElementTree.SubElement(case, "failure", message=failed[0].reason)
                told.text = "\n".join(one.reason for one in failed)
            elif found:
                ElementTree.SubElement(case, "system-out").text = "\n".join(
                    f"{one.severity}: {one.reason}" for one in found
                )
    for error in report.errors:
        counts["tests"] += 1
        counts["errors"] += 1
        case = ElementTree.SubElement(suite, "testcase", classname=report.subject, name="evidence")
        ElementTree.SubElement(case, "error", message=error)
    suite.attrib.update({name: str(count) for name, count in counts.items()})
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def write_markdown(report: Report, summary: str) -> str:
    """What fits into a comment on a merge request."""
    beside = ", ".join(report.baselines) or "nothing"
    lines = [f"## {report.subject} beside {beside}: **{report.verdict}**", "", summary, ""]
    if report.findings:
        lines += ["| | gate | class | beside | change | tolerated | |", "|---|---|---|---|--:|--:|---|"]
        lines += [_write_row(finding) for finding in report.findings]
        lines.append("")
    lines += [f"- could not be looked at: {error}" for error in report.errors]
    lines += ["", f"Plan {report.plan.name} ({report.plan_version}). Again: `{report.rerun}`", ""]
    return "\n".join(lines)


def _write_row(finding: Finding) -> str:
    change = (
        f"{finding.change.value:.2f} ({finding.change.low:.2f} to {finding.change.high:.2f})" if finding.change else ""
    )
    cells = (
        finding.severity, finding.gate, finding.target or "all", finding.baseline or "", change,
        "" if finding.tolerance is None else f"{finding.tolerance:g}", finding.reason,
    )  # fmt: skip
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
