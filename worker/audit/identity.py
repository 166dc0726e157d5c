"""What an audit was made with, so that it can be made again, and told from any other."""

import shlex
from typing import Any

from shared.methods import Audit
from shared.parameters.audit import Plan
from shared.version import VERSION
from worker.audit.evidence import Absent, Evidence


def describe_identity(evidence: Evidence, plan: Plan) -> dict[str, Any]:
    """Digests of weights, probes and results; seeds, devices and versions."""
    jobs: dict[str, Any] = {}
    for role in evidence.members:
        try:
            manifest = evidence.manifest(role)
        except Absent as absent:
            jobs[role] = {"job": evidence.members[role], "absent": str(absent)}
            continue
        job = manifest.job
        jobs[role] = {
            "job": job.id, "model": job.model, "finished_at": job.finished_at and job.finished_at.isoformat(),
            "provenance": job.provenance, "artifacts": {one.name: one.sha256 for one in job.artifacts},
        }  # fmt: skip
    return {
        "version": VERSION,
        "seeds": {"baseline": plan.seeds, "subject": plan.subject_seeds or plan.seeds, "noise": plan.noise_seeds},
        "probes": [probe.id for probe in plan.probes],
        "jobs": jobs,
    }


def write_rerun(audit: Audit) -> str:
    """The command that makes the audit again, from its own report."""
    baselines = [part for reference in audit.baselines for part in ("--baseline", reference)]
    return shlex.join(["archetype", "audit", "run", audit.model, "--plan", "report.json", *baselines, "--again"])
