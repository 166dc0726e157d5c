"""What counts of the audits and decisions about a release."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.dependencies import Services
from api.services.review import standing as module
from api.services.review.standing import MAX_AUDITS, find_standing
from archetype.contract.report.decision import Decision
from archetype.contract.report.standing import Standing
from shared.catalogue.release import Release

RELEASE = Release(name="m", release="2", architecture="builtin:shapes", classes=["a"])
NOW = datetime(2026, 12, 1, tzinfo=UTC)
BESIDE = {"gate": "sanity", "baseline": "m@1", "target": None}


def outcome(verdict: str, plan: str = "nightly", baselines: tuple[str, ...] = ("m@1",), **more: Any) -> dict[str, Any]:
    return {"verdict": verdict, "plan": plan, "baselines": list(baselines), "findings": [], **more}


def decision(kind: str, **more: Any) -> Decision:
    fields = {
        "id": kind,
        "decision": kind,
        "name": "Ann",
        "reason": "r",
        "report_sha256": "a" * 64,
        "by": "k",
        "at": NOW,
    }
    return Decision.model_validate(fields | more)


def find(
    monkeypatch: pytest.MonkeyPatch, *outcomes: dict[str, Any], decisions: tuple[Decision, ...] = (), page: int = 2
) -> Standing:
    """Finds the standing of a release with these audits, newest first, in a list of pages."""
    ids = [f"a{number}" for number in range(len(outcomes))]

    def list_page(
        tenant: str, *, filters: dict[str, str], limit: int, after: str | None
    ) -> tuple[list[Any], str | None]:
        assert (tenant, next(iter(filters)), filters["model"]) == ("t", "model", "m@2")
        start = 0 if after is None else ids.index(after) + 1
        found = ids[start : start + min(page, limit)]
        return [SimpleNamespace(id=each) for each in found], found[-1] if start + page < len(ids) else None

    def load(audit_id: str, *_: object) -> Any:
        return SimpleNamespace(job=SimpleNamespace(metrics=outcomes[ids.index(audit_id)]))

    monkeypatch.setattr(module, "load_manifest", load)
    services = SimpleNamespace(
        job_list=SimpleNamespace(page=list_page),
        decisions=SimpleNamespace(
            list_about=lambda tenant, name: list(decisions) if (tenant, name) == ("t", "m@2") else []
        ),
        redis_client=SimpleNamespace(now=lambda: NOW),
    )
    return find_standing(RELEASE, "t", cast("Services", services))


@pytest.mark.parametrize(
    ("outcomes", "audit", "verdict"),
    [
        ([], None, None),
        ([outcome("pass")], "a0", "pass"),
        ([outcome("fail"), outcome("pass")], "a0", "fail"),
        ([outcome("pass"), outcome("fail")], "a0", "pass"),  # the same plan: it was audited again
        ([outcome("pass", "quick"), outcome("fail")], "a1", "fail"),
        ([outcome("pass", "quick"), outcome("warn", "slow"), outcome("fail")], "a2", "fail"),
        ([outcome("error"), outcome("not_comparable"), outcome("fail")], "a2", "fail"),
        ([outcome("pass", baselines=()), outcome("pass", baselines=("m@2",)), outcome("fail")], "a2", "fail"),
        ([{}, outcome("warn")], "a1", "warn"),
        ([outcome("pass")] * MAX_AUDITS + [outcome("fail", "other")], "a0", "pass"),
    ],
)
def test_of_each_plan_the_newest_comparison_counts(
    outcomes: list[dict[str, Any]], audit: str | None, verdict: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find(monkeypatch, *outcomes)
    assert (found.audit, found.verdict) == (audit, verdict)
    assert found.is_sound is (verdict != "fail")


def test_a_comparison_with_an_unsound_release_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find(monkeypatch, outcome("warn", findings=[BESIDE]))
    assert not found.is_sound
    assert found.describe() == "m@2 was compared in its audit a0 with a release that something speaks against"
    assert find(monkeypatch, outcome("warn", findings=[BESIDE | {"target": "a"}])).is_sound
    assert find(monkeypatch, outcome("warn", findings=[BESIDE | {"gate": "focus"}])).is_sound


def test_the_newest_valid_decision_comes_before_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    approved = find(monkeypatch, outcome("fail"), decisions=(decision("reject"), decision("approve")))
    assert (approved.decision, approved.is_sound) == ("approve", True)
    expired = decision("waive", expires="2026-11-30")
    assert find(monkeypatch, outcome("fail"), decisions=(decision("reject"), expired)).decision == "reject"
    assert find(monkeypatch, decisions=(decision("reject"),)).is_known
