"""Provenance of an audit: digests, seeds, devices and versions."""

from typing import Any

from archetype.contract.request import Audit
from archetype.version import VERSION
from worker.job.member_results import MemberResults, MissingResult


def describe_provenance(member_results: MemberResults, audit: Audit) -> dict[str, Any]:
    """Digests of weights, probes and results; seeds, devices and versions; and which results are reused."""
    plan = audit.plan
    return {
        "version": VERSION,
        "seeds": {"baseline": plan.seeds, "subject": plan.subject_seeds or plan.seeds, "noise": plan.noise_seeds},
        "probes": [probe.id for probe in plan.probes],
        "jobs": {
            role: _describe_job(role, member_results) | {"reused": role in audit.reused}
            for role in member_results.members
        },
    }


def _describe_job(role: str, member_results: MemberResults) -> dict[str, Any]:
    try:
        job = member_results.manifest(role).job
    except MissingResult as absent:
        return {"job": member_results.members[role], "absent": str(absent)}
    return {
        "job": job.id,
        "model": job.model,
        "finished_at": job.finished_at and job.finished_at.isoformat(),
        "provenance": job.provenance,
        "artifacts": {artifact.name: artifact.sha256 for artifact in job.artifacts},
    }
