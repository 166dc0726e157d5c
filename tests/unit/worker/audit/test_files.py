"""The files of a report contain the decision, all gates and the findings, and are readable without any other file."""

import hashlib
import json
import re
from xml.etree import ElementTree

import pytest

from archetype.contract.audit import Comparison
from archetype.contract.report.document import Report
from tests.support.audit_reports import (
    CHECKED,
    COMPONENT,
    FOCUS,
    SANITY,
    SHORTCUT,
    SLICE,
    TRIGGER_FINDING,
    build_report,
)
from worker.audit.files import write_report
from worker.engine.model.classifier import Classifier


@pytest.fixture(scope="module")
def report(report_classifier: Classifier) -> Report:
    return build_report(report_classifier, SHORTCUT, SANITY, FOCUS, errors=["probe x: unreadable"])


@pytest.fixture(scope="module")
def files(report: Report) -> dict[str, bytes]:
    return write_report(report)


def read_text(html: str) -> str:
    """The text of a page: without styles, tags, and line breaks."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_the_html_page_shows_findings_and_pictures_and_loads_nothing(files: dict[str, bytes]) -> None:
    html = files["report.html"].decode()
    text = read_text(html)
    assert "A | mark. Change +40.0 (30.0 to 50.0), limit 25.0 percentage points." in text
    assert "Recommended: Search the training images of bee for this mark or one like it." in text
    assert "Waived by ann until 2027-01-01: known" in text
    assert "probe x: unreadable" in text
    assert "3 of 4 pictures" in text
    assert "die &amp; dice" in text
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(sources) > 12
    assert all(source.startswith("data:image/webp") for source in sources)
    assert "<script" not in html


def test_every_file_is_made_from_report_json_and_names_its_digest(files: dict[str, bytes], report: Report) -> None:
    digest = hashlib.sha256(files["report.json"]).hexdigest()
    assert digest in files["report.html"].decode()
    again = Report.model_validate_json(files["report.json"])
    assert again == report
    assert {name: data for name, data in write_report(again).items() if name != "report.pdf"} == {
        name: data for name, data in files.items() if name != "report.pdf"
    }


def test_the_pdf_has_several_a4_pages_and_its_letters_can_be_copied(files: dict[str, bytes]) -> None:
    pdf = files["report.pdf"]
    assert pdf.startswith(b"%PDF-")
    assert b"/MediaBox [0 0 595.28 841.89]" in pdf
    assert pdf.count(b"/Type /Page\n") >= 2
    assert b"/ToUnicode" in pdf


def test_a_warning_does_not_look_like_a_failure(files: dict[str, bytes]) -> None:
    html = files["report.html"].decode()
    assert '<span class="result fail">✕ failed</span>' in html
    assert '<span class="result warn">! warning</span>' in html
    assert '<span class="result waived">– waived</span>' in html


def test_the_report_of_an_incomparable_baseline_names_the_reason(report_classifier: Classifier) -> None:
    apart = Comparison(baseline="m@1", comparable=False, why="their inputs differ")
    files = write_report(build_report(report_classifier, comparisons=[apart]))
    suite = ElementTree.fromstring(files["junit.xml"])
    assert suite.attrib["skipped"] == suite.attrib["tests"] == "11"
    assert {each.attrib["message"] for each in suite.iter("skipped")} == {"their inputs differ"}
    assert "No decision is possible: their inputs differ." in files["report.html"].decode()


def test_sarif_has_a_rule_per_gate_and_a_result_per_finding(files: dict[str, bytes]) -> None:
    (run,) = json.loads(files["report.sarif"])["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(rules) == len(set(rules)) > 5
    levels = {result["ruleId"]: result["level"] for result in run["results"]}
    assert levels["shortcut"] == "error"
    assert set(levels.values()) == {"error", "warning", "note"}
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"]
        assert ("suppressions" in result) == (result["level"] == "note")
    assert len({result["partialFingerprints"]["gateAndClass/v1"] for result in run["results"]}) == len(run["results"])
    assert not run["invocations"][0]["executionSuccessful"]  # a part could not be evaluated


def test_junit_has_a_test_case_per_gate_and_baseline(files: dict[str, bytes]) -> None:
    suite = ElementTree.fromstring(files["junit.xml"])
    counts = {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "12", "failures": "1", "errors": "1", "skipped": "7"}  # seven gates abstained
    (failed,) = (case for case in suite.iter("testcase") if case.find("failure") is not None)
    assert (failed.attrib["classname"], failed.attrib["name"]) == ("m@2 compared with m@1", "shortcut")
    assert {output.text for output in suite.iter("system-out")} == {
        "waived: less focus",
        "warn: maps depend on the image",
    }


def test_markdown_has_a_row_per_finding_with_escaped_cells(files: dict[str, bytes]) -> None:
    text = files["summary.md"].decode()
    assert "## Audit of m@2 compared with m@1: **fail**" in text
    assert "| fail | shortcut | bee | m@1 | +40.0 (30.0 to 50.0) | 25.0 percentage points | a \\| mark |" in text
    assert "| warn | sanity | all |  |  | 0.50 | maps depend on the image |" in text
    assert "- not tested: probe x: unreadable." in text


def test_all_pages_show_slices_corruptions_and_what_changed(report_classifier: Classifier) -> None:
    files = write_report(build_report(report_classifier, SLICE, TRIGGER_FINDING, COMPONENT, comparisons=[CHECKED]))
    text = read_text(files["report.html"].decode())
    for part in (
        "These 4 &lt;together&gt;.",
        "light = night",
        "Accuracy on corrupted probes",
        "Gate slices: change by slice with its confidence interval",
        "Gate robustness: change by corruption",
        "The probes that get the largest part of the score of lemon from component 2",
        "Gate focus. Not evaluated: the maps are not faithful.",
        "A gray frame turns 90 % of other pictures into bee.",
        "Gate trigger: change by class",
        "A gray frame. Change 3.00 (2.00 to 4.00), limit 1.60 times.",
        "at least 12",
        "3.00 (2.00 to 4.00)",
    ):
        assert part in text
    assert text.index("What changed") < text.index("More measurements")
    suite = ElementTree.fromstring(files["junit.xml"])
    failed = [case.attrib["name"] for case in suite.iter("testcase") if case.find("failure") is not None]
    assert failed == ["slices", "trigger"]
    assert "| fail | slices | all | m@1 | +30.0 (10.0 to 50.0) |" in files["summary.md"].decode()
    assert files["report.pdf"].startswith(b"%PDF-")
