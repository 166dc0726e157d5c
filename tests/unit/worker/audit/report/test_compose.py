"""The document of a report: gates with their results, the first page, accuracy, probes, and digests."""

from pathlib import Path

import pytest
import torch

from archetype.contract.audit import Comparison
from archetype.contract.audit_plan import AuditPlan, Gate, Gates
from archetype.contract.report.document import Report
from archetype.contract.report.measurements import GateResult, ReleaseIdentity
from tests.support.audit_reports import (
    CHECKED,
    COMPONENT,
    FALL,
    FOCUS,
    PROBES,
    SANITY,
    SHORTCUT,
    SLICE,
    build_report,
    build_side,
)
from tests.support.networks import Small, seeded
from worker.audit.report.accuracy import measure_calibration
from worker.audit.report.identity import describe_release, explain_identity
from worker.engine.model.classifier import Classifier, open_classifier


def find_gate(report: Report, name: str) -> GateResult:
    return next(gate for gate in report.gates if gate.gate == name)


def test_a_failed_gate_has_limit_change_margin_and_class(report_classifier: Classifier) -> None:
    gate = find_gate(build_report(report_classifier, SHORTCUT), "shortcut")
    assert (gate.result, gate.target, gate.limit) == ("failed", "bee", 0.25)
    assert gate.change == SHORTCUT.change
    assert gate.margin == pytest.approx(-0.15)
    assert (gate.evaluated, gate.classes) == (3, 3)


def test_a_gate_that_passed_says_how_far_the_largest_change_is_below_the_limit(report_classifier: Classifier) -> None:
    rows = [
        {"target": "bee", "changes": {"confidence": {"value": 0.02, "low": -0.01, "high": 0.05}}},
        {"target": "die"},
    ]
    report = build_report(report_classifier, comparisons=[Comparison(baseline="m@1", classes=rows)])
    gate = find_gate(report, "confidence")
    assert gate.result == "passed"
    assert gate.explanation == (
        "The largest change (bee) is 2.0, which is 3.0 percentage points below the limit. 1 of 2 classes could not be "
        "evaluated."
    )
    assert "Gate confidence: 1 of 2 classes." in report.conclusion.untested


def test_a_change_beyond_the_limit_within_chance_passes_and_says_so(report_classifier: Classifier) -> None:
    gate = find_gate(build_report(report_classifier), "accuracy")
    assert gate.result == "passed"
    assert "beyond the limit, but chance explains it" in gate.explanation


def test_a_gate_without_data_abstains_on_the_first_page(report_classifier: Classifier) -> None:
    report = build_report(report_classifier)
    assert find_gate(report, "focus").result == "abstained"
    assert any(text.startswith("Gate focus. Not evaluated: it needs") for text in report.conclusion.untested)
    assert report.conclusion.decision.endswith(
        "could not be evaluated: appearance, confidence, focus, natural_shortcuts, recognition, robustness, "
        "slices, trigger."
    )


def test_a_disabled_gate_was_not_tested(report_classifier: Classifier) -> None:
    plan = AuditPlan(name="p", gates=Gates(shortcut=Gate(tolerance=0.25, severity="off")))
    report = build_report(report_classifier, plan=plan)
    assert find_gate(report, "shortcut").result == "off"
    assert "Gate shortcut: the plan disables it." in report.conclusion.untested


@pytest.mark.parametrize(
    ("findings", "start"),
    [
        ((SHORTCUT, SANITY), "Do not replace m@1 with m@2: a | mark."),
        ((SANITY,), "m@2 can replace m@1 after a person has accepted one warning: maps depend on the image."),
        ((FOCUS,), "m@2 can replace m@1: all findings are waived (gates focus)"),
        ((), "m@2 can replace m@1: no gate found a change beyond its limit"),
    ],
)
def test_the_decision_is_one_plain_sentence(report_classifier: Classifier, findings: tuple, start: str) -> None:
    assert build_report(report_classifier, *findings).conclusion.decision.startswith(start)


def test_an_identical_release_passes_gates_without_measurements(report_classifier: Classifier) -> None:
    report = build_report(report_classifier, comparisons=[Comparison(baseline="m@1", identical=True)])
    assert find_gate(report, "confidence").explanation.startswith("The two networks are identical")
    assert report.conclusion.decision == "m@2 can replace m@1: the two networks are identical."


def test_accuracy_is_counted_with_its_interval_for_both_releases(report_classifier: Classifier) -> None:
    subject, baseline = build_report(report_classifier).accuracy
    assert (subject.release, subject.correct, subject.probes) == ("m@2", 3, 4)
    assert (baseline.release, baseline.correct) == ("m@1", 4)
    assert (subject.low, subject.high) == pytest.approx((0.3006, 0.9544), abs=1e-4)


def test_the_calibration_error_is_the_weighted_distance_of_confidence_and_accuracy(
    report_classifier: Classifier,
) -> None:
    calibration = measure_calibration(build_side(report_classifier, "2", 3))
    assert calibration is not None
    (only,) = calibration.bins
    assert (only.low, only.probes, only.accuracy) == (0.8, 4, 0.75)
    assert calibration.error == pytest.approx(0.05)


def test_probes_whose_prediction_changed_come_first_with_name_and_digest(report_classifier: Classifier) -> None:
    probes = build_report(report_classifier).probes
    assert len(probes) == len(PROBES)
    assert [each.correct for each in probes[0].predictions] == [False, True]
    assert (probes[0].id, probes[0].name) == ("3" * 64, "0/x.png")
    assert all(probe.thumbnail for probe in probes)


def test_evidence_shows_classes_with_findings_first(report_classifier: Classifier) -> None:
    bee, *others = build_report(report_classifier, SHORTCUT).evidence
    assert (bee.target, bee.kind) == ("bee", "finding")
    assert "makes m@2 predict bee at 75% of the positions, and m@1 at 0%" in bee.groups[0].title
    assert [each.kind for each in others] == ["reference", "reference"]


def test_the_digest_of_weights_does_not_depend_on_the_file(report_classifier: Classifier) -> None:
    first, copy = (describe_release(build_side(report_classifier, name, 4), name * 64) for name in ("2", "1"))
    assert first.weights_sha256 == copy.weights_sha256
    assert "The digests of the weight files differ, because" in explain_identity([first, copy])
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (32, 32), "device": torch.device("cpu")}
    network = seeded(Small)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1e-3
    with open_classifier(network, **options) as changed:
        other = describe_release(build_side(changed, "2", 4), None)
    assert other.weights_sha256 != first.weights_sha256
    assert explain_identity([other, copy]) == "The weights of m@2 and m@1 differ."


@pytest.mark.parametrize(
    ("architecture", "weights", "files", "sentence"),
    [
        ("onnx", (None, None), ("a", "b"), "weights alone cannot be compared"),
        ("onnx", (None, None), ("a", "a"), "The weight files of m@2 and m@1 are the same."),
        ("program", ("w", "w"), ("a", "b"), "so the networks can differ"),
        ("builtin:shapes", ("w", "w"), ("a", "b"), "which do not change the network"),
    ],
)
def test_the_note_says_only_what_the_digests_show(
    architecture: str, weights: tuple[str | None, ...], files: tuple[str, str], sentence: str
) -> None:
    releases = [
        ReleaseIdentity(
            release=f"m@{number}",
            architecture=architecture,
            file_sha256=file,
            weights_sha256=digest,
            settings_sha256="s",
        )
        for number, digest, file in zip("21", weights, files, strict=True)
    ]
    assert sentence in explain_identity(releases)


def test_the_plan_is_told_with_all_tolerances(report_classifier: Classifier) -> None:
    words = " ".join(build_report(report_classifier).plan_in_words)
    assert "4 probes of 3 classes, 1 to 2 per class, 0 with true boxes" in words
    assert "Gate shortcut: a change of more than 25.0 percentage points fails the audit." in words
    assert "Gate appearance: a change of more than 2.00 times gives a warning." in words


def test_the_report_names_requester_and_duration(report_classifier: Classifier) -> None:
    report = build_report(report_classifier)
    assert report.requested is not None
    assert report.requested.by == "operator"
    assert report.seconds == 120
    assert Path(report.rerun.split()[0]).name == "archetype"


def test_gates_about_other_things_than_classes_name_what_changed_most(report_classifier: Classifier) -> None:
    report = build_report(report_classifier, SLICE, comparisons=[CHECKED])
    slices, robustness = find_gate(report, "slices"), find_gate(report, "robustness")
    assert (slices.result, slices.target, slices.change) == ("failed", "light = night", FALL)
    assert (robustness.result, robustness.target) == ("passed", "blur")
    assert "10.0 percentage points below the limit" in robustness.explanation
    trigger = find_gate(report, "trigger")
    assert (trigger.result, trigger.target) == ("passed", "bee")
    assert "beyond the limit, but it is not certain" in trigger.explanation
    assert (slices.classes, robustness.classes) == (0, 0)


def test_a_gate_that_abstains_for_a_measured_reason_names_it(report_classifier: Classifier) -> None:
    report = build_report(report_classifier, comparisons=[CHECKED])
    assert "Gate focus. Not evaluated: the maps are not faithful." in report.conclusion.untested


def test_evidence_shows_natural_shortcuts_of_findings_and_probes_that_changed_places(
    report_classifier: Classifier,
) -> None:
    report = build_report(report_classifier, COMPONENT, comparisons=[CHECKED])
    *_, trigger, shortcut, changed = report.evidence
    assert (trigger.target, trigger.kind, trigger.groups[0].is_wide) == ("bee", "finding", True)
    assert (shortcut.target, shortcut.kind, len(shortcut.groups[0].pictures)) == ("lemon", "finding", 1)
    assert "from component 2 of its features" in shortcut.groups[0].title
    assert (changed.target, changed.kind) == (None, "change")
    assert [picture.caption for picture in changed.groups[0].pictures] == ["bee", "die & dice", "lemon", "bee"]
    without = build_report(report_classifier, comparisons=[CHECKED])
    assert [each.kind for each in without.evidence] == ["reference"] * 3 + ["finding", "change"]


def test_tables_show_slices_corruptions_and_how_faithful_the_maps_are(report_classifier: Classifier) -> None:
    triggers, slices, corruptions, _, maps = build_report(report_classifier, comparisons=[CHECKED]).tables
    assert triggers.rows == [["bee", "frame", "pixels", "at least 12", "4", "3.00 (2.00 to 4.00)"]]
    assert slices.rows[1] == ["light = night", "20", "40% (30% to 50%)", "40% (30% to 50%)"]
    assert corruptions.rows == [["blur", "20", "60%", "70%"]]
    assert maps.rows[0] == ["smoothgrad (used in this report)", "0.60 (0.50 to 0.70)"]
