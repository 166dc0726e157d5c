"""Finds what audits and people have said about a release."""

from collections.abc import Iterator
from typing import Any

from api.dependencies import Services
from api.services.find_job import load_manifest
from archetype.contract.job import State
from archetype.contract.report.decision import find_valid_decision
from archetype.contract.report.standing import Standing
from shared.catalogue.release import Release
from shared.errors import Gone, NotFound

MAX_AUDITS, MAX_PAGES = 10, 10
"""Newest audits of a release whose verdicts count, and pages of lists that are read to find them."""

COUNTED = ("pass", "warn", "fail")
"""Verdicts that say something about a release."""


def find_standing(release: Release, tenant: str, services: Services) -> Standing:
    """Returns what the audits of a tenant, and people, have said about a release.

    Of each plan the newest verdict counts, so that an audit under a smaller plan does not hide that another one failed.
    """
    newest: dict[str, Standing] = {}
    for audit_id, metrics in _list_outcomes(release.reference, tenant, services):
        standing = Standing(
            release=release.reference,
            audit=audit_id,
            verdict=metrics["verdict"],
            compared_with_unsound=any(_is_about_baseline(finding) for finding in metrics["findings"]),
        )
        newest.setdefault(metrics["plan"], standing)
    standings = sorted(newest.values(), key=lambda each: each.is_sound)
    found = standings[0] if standings else Standing(release=release.reference)
    today = services.redis_client.now().date()
    decision = find_valid_decision(services.decisions.list_about(tenant, release.reference), today)
    if decision is None:
        return found
    made = {"decision": decision.decision, "name": decision.name, "decided_at": decision.at}
    return found.model_copy(update=made)


def _list_outcomes(reference: str, tenant: str, services: Services) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the id and the outcome of the newest audits that compared a release with another one."""
    filters = {"model": reference, "method": "audit", "state": State.SUCCEEDED.value}
    after, left = None, MAX_AUDITS
    for _ in range(MAX_PAGES):
        audits, after = services.job_list.page(tenant, filters=filters, limit=left, after=after)
        for audit in audits:
            metrics = _load_metrics(audit.id, tenant, services)
            if metrics.get("verdict") in COUNTED and set(metrics["baselines"]) - {reference}:
                yield audit.id, metrics
        left -= len(audits)
        if after is None or left <= 0:
            return


def _load_metrics(audit_id: str, tenant: str, services: Services) -> dict[str, Any]:
    try:
        manifest = load_manifest(audit_id, tenant, services)
    except (Gone, NotFound):  # it was deleted meanwhile
        return {}
    return {} if manifest is None else manifest.job.metrics


def _is_about_baseline(finding: dict[str, Any]) -> bool:
    return finding["gate"] == "sanity" and finding["baseline"] is not None and finding["target"] is None
