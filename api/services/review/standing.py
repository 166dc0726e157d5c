"""Finds what audits and people have said about a release."""

from api.dependencies import Services
from api.services.find_job import load_manifest
from archetype.contract.job import State
from archetype.contract.report.decision import find_valid_decision
from archetype.contract.report.standing import Standing
from shared.catalogue.release import Release
from shared.errors import Gone, NotFound

MAX_AUDITS = 10
"""Newest audits of a release whose verdicts and decisions count."""


def find_standing(release: Release, tenant: str, services: Services) -> Standing:
    """Returns the newest verdict and the newest valid decision about a release, from the audits of a tenant."""
    filters = {"method": "audit", "model": release.reference, "state": State.SUCCEEDED.value}
    audits, _ = services.job_list.page(tenant, filters=filters, limit=MAX_AUDITS, after=None)
    standing = Standing(release=release.reference)
    for audit in audits:
        verdict = _read_verdict(audit.id, tenant, services)
        if verdict is not None:
            standing = standing.model_copy(update={"audit": audit.id, "verdict": verdict})
            break
    decisions = [each for audit in audits for each in services.decisions.list(tenant, audit.id)]
    decisions.sort(key=lambda each: each.at)
    decision = find_valid_decision(decisions, services.redis_client.now().date())
    if decision is None:
        return standing
    made = {"decision": decision.decision, "name": decision.name, "decided_at": decision.at}
    return standing.model_copy(update=made)


def _read_verdict(audit_id: str, tenant: str, services: Services) -> str | None:
    try:
        manifest = load_manifest(audit_id, tenant, services)
    except (Gone, NotFound):  # it was deleted meanwhile
        return None
    return None if manifest is None else manifest.job.metrics.get("verdict")
