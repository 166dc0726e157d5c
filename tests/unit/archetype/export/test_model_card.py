"""The model card of an audited release."""

from datetime import UTC, datetime

from archetype.contract.audit_plan import AuditPlan
from archetype.contract.report.document import Report
from archetype.contract.report.measurements import ReleaseIdentity
from archetype.contract.request import Audit
from archetype.export.model_card import UNKNOWN, write_model_card
from shared.audits.identical import Identity
from shared.audits.identical_report import build_identical_report
from shared.catalogue.release import Release


def make_report() -> Report:
    subject, baseline = (
        ReleaseIdentity(
            release=f"fruit@{number}", architecture="timm:x", file_sha256="5" * 64, weights_sha256=None,
            settings_sha256="6" * 64,
        )
        for number in (2, 1)
    )  # fmt: skip
    audit = Audit(model="fruit@2", plan=AuditPlan(name="nightly"), baselines=["fruit@1"])
    identity = Identity(subject, baseline, "both have the same weights")
    release = Release(name="fruit", release="2", architecture="timm:x", classes=["apple", "lemon"])
    return build_identical_report(audit, release, [identity], datetime(2026, 11, 30, tzinfo=UTC))


def test_a_model_card_has_the_sections_of_model_cards_and_what_the_audit_found() -> None:
    report = make_report()
    card = write_model_card(report)
    titles = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip
    assert card.startswith("# Model card of fruit@2\n")
    assert report.conclusion.decision in card
    assert all(gate.explanation in card for gate in report.gates)
    assert card.count(UNKNOWN) == 3
    assert f"`{'5' * 64}`" in card
