"""Records decisions of people about audits."""

from api.dependencies import Services
from archetype.contract.job import Job
from archetype.contract.problem import FieldError
from archetype.contract.report.decision import Decision, NewDecision
from shared.errors import InvalidRequest, NotFinished
from shared.state.job_ids import new_job_id
from shared.storage.api_keys import Caller

DOCUMENT = "report.json"
"""The file whose digest a decision contains, and which is signed."""


def find_report_digest(job: Job) -> str:
    """Returns the SHA-256 digest of the report of an audit. Raises `NotFinished` if it has none."""
    for artifact in job.artifacts:
        if artifact.name == DOCUMENT:
            return artifact.sha256
    raise NotFinished(f"audit {job.id} is {job.state} and has no report; decide when it has one")


def decide(new: NewDecision, job: Job, caller: Caller, services: Services) -> Decision:
    """Stores a decision about an audit with the digest of its report, and returns it.

    Raises:
        NotFinished: The audit has no report.
        InvalidRequest: The decision has expired, or is about another report.
    """
    digest, moment = find_report_digest(job), services.redis_client.now()
    if new.report_sha256 not in (None, digest):
        field = FieldError(field="/report_sha256", detail="is not the digest of the report", allowed=digest)
        raise InvalidRequest(f"the report of audit {job.id} has the digest {digest}; read it before you decide", field)
    if new.expires is not None and new.expires < moment.date():
        field = FieldError(field="/expires", detail="is in the past", allowed=f"{moment.date()} or later")
        raise InvalidRequest(f"the decision would expire on {new.expires}, which is in the past", field)
    decision = Decision(
        **new.model_dump(exclude={"report_sha256"}),
        id=new_job_id(moment),
        report_sha256=digest,
        by=caller.key or "local",
        at=moment,
    )
    services.decisions.add(job.tenant, job.id, job.model, decision)
    return decision
