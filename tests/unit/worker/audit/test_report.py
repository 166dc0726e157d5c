"""The report contains the findings in HTML, JUnit XML and Markdown, and is readable without any other file."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from archetype.contract.audit import Comparison, Estimate, Finding, Report
from archetype.contract.audit_plan import AuditPlan, Waiver
from shared.catalogue.release import Release
from tests.support.networks import Small, seeded
from worker.audit.compare import ClassRow, Side
from worker.audit.report import Case, Evidence, write_report
from worker.audit.shortcut import Mark
from worker.engine.model.classifier import Classifier, open_classifier
from worker.job.member_results import DrawnModel, ProbePrediction

SIZE, CLASSES = 32, ["bee", "die & dice", "lemon"]
CHANGE = Estimate(value=0.4, low=0.3, high=0.5)
SHORTCUT = Finding(
    gate="shortcut", severity="fail", target="bee", baseline="m@1", change=CHANGE, tolerance=0.25, reason="a | mark"
)
FOCUS = Finding(
    gate="focus", severity="waived", target="bee", baseline="m@1", change=CHANGE, tolerance=0.15, reason="less focus",
    waiver=Waiver(gate="focus", owner="ann", reason="known", expires=date(2027, 1, 1)),
)  # fmt: skip
SANITY = Finding(gate="sanity", severity="warn", tolerance=0.5, reason="maps depend on the image")


def noise(seed: int, side: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIZE, SIZE), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **options) as opened:
        yield opened


def build_side(classifier: Classifier, release: str, probability: float) -> Side:
    verdict = {"probability": probability, "rank": 1, "predicted": {"index": 0, "name": "bee", "probability": 0.5}}
    models = {
        target: [DrawnModel(target, seed, 128, noise(seed), verdict, {}) for seed in (1, 2)]
        for target in range(len(CLASSES))
    }
    saliency = np.ones((SIZE, SIZE), np.float32)
    looks = {"a" * 64: ProbePrediction("a" * 64, 0, verdict, saliency, saliency)}
    return Side(
        Release(name="m", release=release, architecture="builtin:shapes", classes=CLASSES), classifier, models, looks
    )


def build_report(*findings: Finding, comparisons: list[Comparison], errors: list[str] | None = None) -> Report:
    plan = AuditPlan(name="nightly")
    return Report(
        verdict="fail", subject="m@2", baselines=[each.baseline for each in comparisons], plan=plan,
        plan_version=plan.version, findings=list(findings), comparisons=comparisons, errors=errors or [],
        figures={"accuracy": 0.975}, identity={"jobs": {"subject/probes": {"job": "j1", "absent": "job j1 is gone"}}},
        rerun="archetype audit run m@2", created_at=datetime(2026, 11, 28, tzinfo=UTC),
    )  # fmt: skip


def build_evidence(classifier: Classifier) -> Evidence:
    mark = Mark(noise(5, 8), np.array([1.0, 0.5]), np.array([0.0, 0.0]), noise(6))
    figures = {"subject_turned": 0.75, "baseline_turned": 0.0}
    rows = {index: ClassRow(index, name, changes={"shortcut": CHANGE}) for index, name in enumerate(CLASSES)}
    rows[0] = ClassRow(0, "bee", figures=figures, changes={"shortcut": CHANGE}, mark=mark)
    case = Case(build_side(classifier, "2", 0.2), build_side(classifier, "1", 0.9), rows)
    return Evidence([case], {"a" * 64: noise(7)}, lambda image, _: np.ones(image.shape[:2], np.float32))


COMPARED = Comparison(
    baseline="m@1", overall={"probes": 40.0, "flips": 5.0, "lost": 4.0, "won": 1.0},
    classes=[{"target": name} for name in CLASSES],
)  # fmt: skip


def test_the_html_report_shows_findings_and_images_and_loads_nothing(classifier: Classifier) -> None:
    report = build_report(SHORTCUT, SANITY, FOCUS, comparisons=[COMPARED], errors=["probe x: unreadable"])
    html = write_report(report, "fail: a mark", build_evidence(classifier))["report.html"].decode()
    assert all(text in html for text in ("a | mark", "waived by ann until 2027-01-01", "probe x: unreadable"))
    assert "the prediction of 5 changed" in html
    assert "m@2 assigns 75% of the probes of other classes to <bdi>bee</bdi>, m@1 0%" in html
    assert "die &amp; dice" in html
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(sources) == 2 * 2 * len(CLASSES) + 3 + 3  # class models, the mark, a probe
    assert all(source.startswith("data:image/webp") for source in sources)


def test_the_report_of_an_incomparable_baseline_names_the_reason() -> None:
    apart = Comparison(baseline="m@1", comparable=False, why="their inputs differ")
    files = write_report(build_report(comparisons=[apart]), "not comparable", Evidence([], {}, lambda *_: np.ones(1)))
    suite = ElementTree.fromstring(files["junit.xml"])
    assert suite.attrib["skipped"] == suite.attrib["tests"] == "8"
    assert {each.attrib["message"] for each in suite.iter("skipped")} == {"their inputs differ"}


def test_junit_has_a_test_case_per_gate_and_baseline(classifier: Classifier) -> None:
    report = build_report(SHORTCUT, SANITY, FOCUS, comparisons=[COMPARED], errors=["probe x: unreadable"])
    suite = ElementTree.fromstring(write_report(report, "fail", build_evidence(classifier))["junit.xml"])
    counts = {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "9", "failures": "1", "errors": "1", "skipped": "0"}
    (failed,) = (case for case in suite.iter("testcase") if case.find("failure") is not None)
    assert (failed.attrib["classname"], failed.attrib["name"]) == ("m@2 compared with m@1", "shortcut")
    assert {output.text for output in suite.iter("system-out")} == {
        "waived: less focus",
        "warn: maps depend on the image",
    }


def test_markdown_has_a_row_per_finding_with_escaped_cells(classifier: Classifier) -> None:
    report = build_report(SHORTCUT, SANITY, comparisons=[COMPARED], errors=["probe x: unreadable"])
    text = write_report(report, "fail: a mark", build_evidence(classifier))["summary.md"].decode()
    assert "## Audit of m@2 compared with m@1: **fail**" in text
    assert "| fail | shortcut | bee | m@1 | 0.40 (0.30 to 0.50) | 0.25 | a \\| mark |" in text
    assert "| warn | sanity | all |  |  | 0.5 | maps depend on the image |" in text
    assert "- not evaluated: probe x: unreadable" in text
