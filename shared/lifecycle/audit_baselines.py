"""Chooses the releases with which the subject of an audit is compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archetype.contract.audit_plan import APPROVED, PREVIOUS
from archetype.contract.problem import FieldError
from archetype.contract.report.standing import Standing
from shared.catalogue.catalogue import Catalogue
from shared.catalogue.release import Release
from shared.errors import InvalidRequest

MAX_EXAMINED = 50
"""Earlier releases of a model that are examined, newest first."""

FindStanding = Callable[[Release], Standing]
"""Returns what audits and people have said about a release."""


@dataclass(frozen=True)
class Baselines:
    """The releases with which the subject is compared.

    Attributes:
        releases: The releases, each once.
        standings: What was said about each of them, in this order.
        skipped: What was said about later releases that were left out for it.
    """

    releases: list[Release]
    standings: list[Standing]
    skipped: list[Standing]


def choose_baselines(
    references: Sequence[str], subject: Release, catalogue: Catalogue, find_standing: FindStanding
) -> Baselines:
    """Chooses the baselines of an audit.

    A comparison only finds what is worse than in the baseline. So `previous` skips releases that were rejected or
    failed their audit: a later release with the same fault would pass.

    Args:
        references: `name`, `name@release`, `previous` or `approved`. The first release of a model has none before it.
        subject: The release that is audited.
        catalogue: The models that the caller may use.
        find_standing: Returns what audits and people have said about a release.

    Raises:
        UnknownModel: There is no such release.
        InvalidRequest: No earlier release is approved.
    """
    find_standing = _remember(find_standing)
    chosen = Baselines([], [], [])
    for position, reference in enumerate(references):
        if reference == PREVIOUS:
            baseline = _find_previous(_list_earlier(subject, catalogue), find_standing, chosen.skipped)
        elif reference == APPROVED:
            baseline = _find_approved(_list_earlier(subject, catalogue), find_standing, chosen.skipped, position)
        else:
            release = catalogue.find(reference, field=f"/baselines/{position}")
            baseline = release, find_standing(release)
        if baseline is not None and baseline[0] not in chosen.releases:
            chosen.releases.append(baseline[0])
            chosen.standings.append(baseline[1])
    known = {release.reference for release in chosen.releases}
    skipped = {each.release: each for each in chosen.skipped if each.release not in known}
    return Baselines(chosen.releases, chosen.standings, list(skipped.values()))


def _remember(find_standing: FindStanding) -> FindStanding:
    """Asks for the standing of each release once."""
    found: dict[str, Standing] = {}

    def find(release: Release) -> Standing:
        if release.reference not in found:
            found[release.reference] = find_standing(release)
        return found[release.reference]

    return find


def _list_earlier(subject: Release, catalogue: Catalogue) -> list[Release]:
    """The releases of the model before the subject, newest first."""
    releases = catalogue.releases(subject.name)
    position = next(number for number, release in enumerate(releases) if release.release == subject.release)
    return releases[:position][::-1][:MAX_EXAMINED]


def _find_previous(
    earlier: Sequence[Release], find_standing: FindStanding, skipped: list[Standing]
) -> tuple[Release, Standing] | None:
    """The newest release that nothing speaks against; the newest one if there is none, which the audit then reports."""
    passed = list[Standing]()
    for release in earlier:
        standing = find_standing(release)
        if standing.is_sound:
            skipped.extend(passed)
            return release, standing
        passed.append(standing)
    return (earlier[0], passed[0]) if earlier else None


def _find_approved(
    earlier: Sequence[Release], find_standing: FindStanding, skipped: list[Standing], position: int
) -> tuple[Release, Standing] | None:
    passed = list[Standing]()
    for release in earlier:
        standing = find_standing(release)
        if standing.is_approved:
            skipped.extend(each for each in passed if not each.is_sound)
            return release, standing
        passed.append(standing)
    if not earlier:
        return None
    detail = f"no release of {earlier[0].name} before this one is approved; approve the audit of one, or name a release"
    raise InvalidRequest(detail, FieldError(field=f"/baselines/{position}", detail=detail))
