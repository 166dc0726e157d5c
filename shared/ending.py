"""How a job ends: the manifest first, because S3 is the truth, then the terminal state, by whoever holds the claim."""

from collections.abc import Mapping

from shared.claims import Claim, Claims
from shared.counters import count_end
from shared.errors import DeadlineExceeded, Problem
from shared.jobs import Job, Manifest, Progress, State, links_of, now
from shared.storage import Storage
from shared.webhooks import Outbox, describe_end


def end_job(claims: Claims, storage: Storage, claim: Claim, job: Job, keys: Mapping[str, str] | None = None) -> Job:
    """Ends a job, once. If an earlier attempt got as far as its manifest, that one counts.

    Args:
        keys: Where in the bucket each of its artefacts lies, by name.

    Raises:
        ClaimLost: The job is somebody else's to end.
    """
    claims.renew(claim, Progress())  # nothing to report: only whether it is still theirs
    manifest = storage.load_manifest(claim.job_id)
    if manifest is None:
        manifest = Manifest(job=job, fence=claim.fence, keys=dict(keys or {}))
        storage.save_manifest(manifest)
    outbox, message = Outbox(claims.records, storage.bucket), None
    if manifest.job.webhook is not None:
        outbox.put(message := describe_end(manifest.job))
    claims.finish(claim, manifest)
    storage.close(claim.job_id)
    count_end(claims.records, manifest.job)
    if message is not None:
        outbox.schedule(message.tenant, message.id, message.begun_at)
    return manifest.job


def ended(job: Job, state: State, *, problem: Problem | None = None) -> Job:
    """The job as it ends in this state."""
    error = problem.document if problem is not None else None
    return job.model_copy(update={"state": state, "finished_at": now(), "error": error, "links": links_of(job.id)})


def cancelled(job: Job, why: str) -> Job:
    """A job as it ends when it is cancelled, for the reason that the records give."""
    if why != "deadline":
        return ended(job, State.CANCELLED)
    limit = f"{job.deadline:%Y-%m-%d %H:%M:%S} UTC" if job.deadline else "its deadline"
    problem = DeadlineExceeded(
        f"the job had not ended by {limit}; submit it again with a longer Cancel-After, or with less to do"
    )
    return ended(job, State.CANCELLED, problem=problem)
