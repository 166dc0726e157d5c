"""Cancels jobs and audits."""

from api.dependencies import Services
from api.services.find_job import find_job
from archetype.contract.job import Job, State
from shared.lifecycle.finish import finish_job, to_finished
from shared.lifecycle.rebuild import load_spec
from shared.queue.claims import ClaimLost


def cancel(job: Job, services: Services) -> Job:
    """Cancels a job. A job that has ended stays as it is.

    A queued job is claimed and ended by this process, as a worker would. The worker of a running job sees the
    request at its next step.
    """
    if job.state.terminal:
        return job
    claim = services.claims.withdraw(job.id, "asked", "api")
    if claim is not None:
        try:
            return finish_job(
                services.claims, services.storage, services.outbox, claim, to_finished(job, State.CANCELLED)
            )
        except ClaimLost:
            pass  # the lease expired while S3 was slow; the worker that has the job now sees the request
    return find_job(job.id, job.tenant, services)


def cancel_with_members(audit: Job, services: Services) -> Job:
    """Cancels the job of an audit and all jobs that the audit consists of."""
    cancelled = cancel(audit, services)
    for member_id in load_spec(services.storage, audit.id).request.get("members", {}).values():
        cancel(find_job(member_id, audit.tenant, services), services)
    return cancelled
