"""The report of identical releases is complete: verdict, digests, and everything that was not run."""

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from archetype.contract.audit_plan import AuditPlan, Gates
from archetype.contract.report.document import Report
from archetype.contract.report.measurements import ReleaseIdentity
from archetype.contract.report.standing import Standing
from archetype.contract.request import Audit
from shared.audits.identical import Identity
from shared.audits.identical_report import build_identical_report
from shared.audits.pages.files import MEDIA_TYPES, write_files
from shared.audits.report.outcome import describe_outcome
from shared.catalogue.release import Release

SUBJECT = Release(name="m", release="2", architecture="builtin:shapes", classes=["bee", "lemon"])
DIGESTS = [
    ReleaseIdentity(
        release=f"m@{number}",
        architecture="builtin:shapes",
        file_sha256=number * 64,
        weights_sha256="a" * 64,
        settings_sha256="c" * 64,
    )
    for number in ("2", "1")
]


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
    identity = Identity(*DIGESTS, "all weights are equal & the files differ")
    return build_identical_report(audit, SUBJECT, [identity], datetime(2026, 11, 29, tzinfo=UTC))


def test_the_report_names_the_verdict_the_digests_and_what_was_not_run(report: Report) -> None:
    assert (report.verdict, report.findings, report.errors) == ("pass", [], [])
    (comparison,) = report.comparisons
    assert comparison.identical
    assert report.releases == DIGESTS
    text = " ".join(report.conclusion.untested)
    assert "Class visualizations of 2 classes: not run" in text
    assert "saliency maps of 1 probe: not run" in text
    assert "Gate focus: the plan disables it." in text
    results = {gate.gate: gate.result for gate in report.gates}
    assert results == dict.fromkeys(Gates.model_fields, "passed") | {"focus": "off", "sanity": "abstained"}
    assert report.conclusion.decision == "m@2 can replace m@1: the two networks are identical."
    assert any("No job was run" in text for text in report.conclusion.basis)


def test_the_report_has_every_file_of_a_report_and_the_same_metrics_as_an_audit_that_has_run(report: Report) -> None:
    files = write_files(report)
    assert set(files) == set(MEDIA_TYPES)
    assert Report.model_validate_json(files["report.json"]) == report
    outcome = describe_outcome(report)
    assert outcome["verdict"] == "pass"
    assert outcome["summary"].startswith("pass: the releases are identical")
    assert {"findings", "errors", "figures", "plan_version", "baselines", "plan"} <= set(outcome)


def test_the_html_shows_the_digests_and_why_they_differ(report: Report) -> None:
    html = write_files(report)["report.html"].decode()
    for digest in ("2" * 64, "1" * 64, "a" * 64, "c" * 64):
        assert f"<code>{digest}</code>" in html
    assert "equal &amp; the files differ" in html
    assert not re.search(r"(src|href)=", html)


def test_the_junit_file_skips_only_what_equal_digests_do_not_decide(report: Report) -> None:
    suite = ElementTree.fromstring(write_files(report)["junit.xml"])
    assert suite.attrib["tests"] == str(len(Gates.model_fields) - 1)  # a disabled gate is no part of the plan
    skipped = [case.attrib["name"] for case in suite.iter("testcase") if case.find("skipped") is not None]
    assert skipped == ["sanity"]


def test_the_first_page_says_what_was_said_about_the_baselines() -> None:
    when = datetime(2026, 11, 28, tzinfo=UTC)
    standings = [
        Standing(release="m@1", audit="a1", verdict="fail", decision="waive", name="Ann", decided_at=when),
    ]
    skipped = [Standing(release="m@1b", audit="a2", verdict="fail")]
    audit = Audit(model="m@2", plan=AuditPlan(name="p"), baselines=["m@1"], standings=standings, skipped=skipped)
    report = build_identical_report(audit, SUBJECT, [Identity(*DIGESTS, "equal")], datetime(2026, 11, 29, tzinfo=UTC))
    assert (report.standings, report.skipped) == (standings, skipped)
    assert "The findings of m@1 were waived by Ann on 2026-11-28." in report.conclusion.basis
    assert "m@1b failed its audit a2, so it is no baseline." in report.conclusion.basis
    assert "not audited" not in " ".join(report.conclusion.untested)
    unknown = audit.model_copy(update={"standings": []})
    report = build_identical_report(unknown, SUBJECT, [Identity(*DIGESTS, "equal")], datetime(2026, 11, 29, tzinfo=UTC))
    assert (
        "m@1 itself was not audited: a comparison does not find faults that both releases have."
        in report.conclusion.untested
    )
