"""The report of identical releases is complete: verdict, digests, and everything that was not run."""

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from archetype.contract.audit import ReleaseDigests, Report
from archetype.contract.audit_plan import AuditPlan, Gates
from archetype.contract.request import Audit
from shared.audits.identical import Identity
from shared.audits.identical_report import (
    MEDIA_TYPES,
    build_identical_report,
    describe_outcome,
    write_identical_report,
)
from shared.catalogue.release import Release

SUBJECT = Release(name="m", release="2", architecture="builtin:shapes", classes=["bee", "lemon"])
DIGESTS = {
    "subject": ReleaseDigests(file="2" * 64, tensors="a" * 64, settings="c" * 64),
    "baseline": ReleaseDigests(file="1" * 64, tensors="a" * 64, settings="c" * 64),
}


@pytest.fixture
def report() -> Report:
    plan = AuditPlan.model_validate(
        {
            "name": "nightly",
            "probes": [{"id": "0" * 64, "target": "bee"}],
            "gates": {"focus": {"severity": "off", "tolerance": 1}},
        }
    )
    audit = Audit(model="m@2", plan=plan, baselines=["m@1"])
    identity = Identity("m@1", DIGESTS, "all weights are equal & the files differ")
    return build_identical_report(audit, SUBJECT, [identity], datetime(2026, 11, 29, tzinfo=UTC))


def test_the_report_names_the_verdict_the_digests_and_what_was_not_run(report: Report) -> None:
    assert (report.verdict, report.findings, report.errors) == ("pass", [], [])
    (comparison,) = report.comparisons
    assert comparison.identical
    assert comparison.digests == DIGESTS
    text = " ".join(report.not_run)
    assert "class visualizations of 2 classes" in text
    assert "saliency maps of 1 probe:" in text
    for gate in Gates.model_fields:
        assert (gate in text) == (gate != "focus")  # a disabled gate is no part of the plan


def test_the_report_has_every_file_of_a_report_and_the_same_metrics_as_an_audit_that_has_run(report: Report) -> None:
    files = write_identical_report(report)
    assert set(files) == set(MEDIA_TYPES)
    assert Report.model_validate_json(files["report.json"]) == report
    outcome = describe_outcome(report)
    assert outcome["verdict"] == "pass"
    assert outcome["summary"].startswith("pass: the releases are identical")
    assert {"findings", "errors", "figures", "plan_version", "baselines", "plan"} <= set(outcome)


def test_the_html_shows_which_digests_are_equal_and_which_differ(report: Report) -> None:
    html = write_identical_report(report)["report.html"].decode()
    rows = re.findall(r"<tr><td>(.*?)</td>.*<td>(\w+)</td></tr>", html)
    assert [result for _, result in rows] == ["different", "equal", "equal"]
    assert "equal &amp; the files differ" in html
    assert not re.search(r"(src|href)=", html)


def test_the_junit_file_skips_every_gate(report: Report) -> None:
    suite = ElementTree.fromstring(write_identical_report(report)["junit.xml"])
    assert suite.attrib["tests"] == suite.attrib["skipped"] == str(len(Gates.model_fields) - 1)
    assert all(case.find("skipped") is not None for case in suite.iter("testcase"))
