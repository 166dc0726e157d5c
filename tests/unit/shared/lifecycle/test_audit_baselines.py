"""Baselines: a release that was rejected or failed its audit is no measure for the next one."""

from datetime import UTC, datetime
from typing import Any

import pytest

from archetype.contract.report.standing import Standing
from shared.catalogue.catalogue import Catalogue
from shared.catalogue.release import Release
from shared.errors import InvalidRequest, UnknownModel
from shared.lifecycle.audit_baselines import Baselines, choose_baselines

RELEASES = [
    Release.model_validate(
        {"name": "fruit", "release": str(n), "architecture": "builtin:shapes", "classes": ["a", "b"]}
    )
    for n in range(1, 6)
]
CATALOGUE = Catalogue(RELEASES)
FIFTH, FIRST = RELEASES[-1], RELEASES[0]

FAILED: dict[str, Any] = {"audit": "a1", "verdict": "fail"}
PASSED: dict[str, Any] = {"audit": "a1", "verdict": "pass"}


def decided(decision: str) -> dict[str, Any]:
    return {"decision": decision, "name": "Ann Example", "decided_at": datetime(2026, 11, 30, tzinfo=UTC)}


def choose(references: list[str], known: dict[str, dict[str, Any]], subject: Release = FIFTH) -> Baselines:
    """Chooses among releases of which some have a standing, by their release."""

    def find(release: Release) -> Standing:
        return Standing(release=release.reference, **known.get(release.release, {}))

    return choose_baselines(references, subject, CATALOGUE, find)


@pytest.mark.parametrize(
    ("known", "chosen", "skipped"),
    [
        ({}, "4", []),
        ({"4": PASSED}, "4", []),
        ({"4": {"audit": "a1", "verdict": "warn"}}, "4", []),
        ({"4": FAILED}, "3", ["4"]),
        ({"4": decided("reject")}, "3", ["4"]),
        ({"4": PASSED | decided("reject")}, "3", ["4"]),
        ({"4": FAILED | decided("approve")}, "4", []),
        ({"4": FAILED | decided("waive")}, "4", []),
        ({"4": FAILED, "3": decided("reject"), "2": PASSED}, "2", ["4", "3"]),
        ({str(n): FAILED for n in range(1, 5)}, "4", []),
    ],
)
def test_previous_is_the_newest_release_that_nothing_speaks_against(
    known: dict[str, dict[str, Any]], chosen: str, skipped: list[str]
) -> None:
    found = choose(["previous"], known)
    assert [release.release for release in found.releases] == [chosen]
    assert [standing.release for standing in found.standings] == [f"fruit@{chosen}"]
    assert [standing.release for standing in found.skipped] == [f"fruit@{each}" for each in skipped]


def test_if_something_speaks_against_all_the_audit_can_tell() -> None:
    (standing,) = choose(["previous"], {str(n): FAILED for n in range(1, 5)}).standings
    assert not standing.is_sound


@pytest.mark.parametrize(
    ("known", "chosen", "skipped"),
    [
        ({"4": PASSED, "2": PASSED | decided("approve")}, "2", []),
        ({"4": FAILED, "3": PASSED, "2": decided("waive")}, "2", ["4"]),
        ({"4": decided("approve")}, "4", []),
    ],
)
def test_approved_is_the_newest_release_that_a_person_has_approved(
    known: dict[str, dict[str, Any]], chosen: str, skipped: list[str]
) -> None:
    found = choose(["approved"], known)
    assert [release.release for release in found.releases] == [chosen]
    assert [standing.release for standing in found.skipped] == [f"fruit@{each}" for each in skipped]


def test_without_an_approved_release_the_request_says_what_to_do() -> None:
    with pytest.raises(
        InvalidRequest, match="no release of fruit before this one is approved; approve the audit of one"
    ) as error:
        choose(["fruit@1", "approved"], {"4": PASSED})
    assert error.value.errors[0].field == "/baselines/1"


@pytest.mark.parametrize("reference", ["previous", "approved"])
def test_the_first_release_has_no_baseline(reference: str) -> None:
    assert choose([reference], {}, FIRST) == Baselines([], [], [])


def test_a_release_that_is_named_is_compared_whatever_was_said_about_it() -> None:
    found = choose(["fruit@4"], {"4": decided("reject")})
    assert [release.release for release in found.releases] == ["4"]
    assert not found.standings[0].is_sound


def test_a_release_that_was_passed_over_is_named_once_and_not_if_it_is_a_baseline() -> None:
    known = {"4": FAILED, "3": FAILED, "2": PASSED | decided("approve")}
    assert [each.release for each in choose(["previous", "approved"], known).skipped] == ["fruit@4", "fruit@3"]
    found = choose(["previous", "fruit@4"], known)
    assert [release.release for release in found.releases] == ["2", "4"]
    assert [each.release for each in found.skipped] == ["fruit@3"]


def test_a_release_that_was_compared_with_an_unsound_one_is_no_measure_either() -> None:
    assert [
        each.release for each in choose(["previous"], {"4": PASSED | {"compared_with_unsound": True}}).releases
    ] == ["3"]


def test_the_standing_of_a_release_is_looked_up_once() -> None:
    asked: list[str] = []

    def find(release: Release) -> Standing:
        asked.append(release.release)
        return Standing(release=release.reference, **FAILED)

    choose_baselines(["previous", "previous", "fruit@4"], FIFTH, CATALOGUE, find)
    assert sorted(asked) == ["1", "2", "3", "4"]


def test_each_baseline_is_chosen_once() -> None:
    found = choose(["previous", "fruit@4", "fruit@1"], {})
    assert [release.release for release in found.releases] == ["4", "1"]
    assert [standing.release for standing in found.standings] == ["fruit@4", "fruit@1"]


def test_an_unknown_baseline_is_refused_with_its_position() -> None:
    with pytest.raises(UnknownModel) as error:
        choose(["fruit@1", "fruit@9"], {})
    assert error.value.errors[0].field == "/baselines/1"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "fruit@1 was not audited"),
        (PASSED, "the audit a1 of fruit@1 ended with pass"),
        ({"audit": "a1", "verdict": "not_comparable"}, "the audit a1 of fruit@1 ended with not comparable"),
        (FAILED, "fruit@1 failed its audit a1"),
        (FAILED | decided("approve"), "fruit@1 was approved by Ann Example on 2026-11-30"),
        (PASSED | decided("reject"), "fruit@1 was rejected by Ann Example on 2026-11-30"),
        (FAILED | decided("waive"), "the findings of fruit@1 were waived by Ann Example on 2026-11-30"),
    ],
)
def test_a_standing_is_told_in_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    assert Standing(release="fruit@1", **fields).describe() == sentence
