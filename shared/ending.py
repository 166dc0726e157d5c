"""How a job ends: the manifest first, because S3 is the truth, then the terminal state, by whoever holds the claim."""

from shared.errors import Problem
from shared.jobs import Job, Manifest, State, links_of, now
from shared.records import Claim, Records
from shared.storage import Storage


def end_job(records: Records, storage: Storage, claim: Claim, job: Job) -> Job:
    """Ends a job, once. If an earlier attempt got as far as its manifest, that one counts.

    Raises:
        ClaimLost: The job is somebody else's to end.
    """
    records.renew(claim, job.progress)
    prefix = storage.attempt_prefix(claim.job_id, claim.fence)
    manifest = storage.save_manifest(Manifest(job=job, prefix=prefix))
    records.finish(claim, manifest.job)
    return manifest.job


def ended(job: Job, state: State, *, problem: Problem | None = None) -> Job:
    """The job as it ends in this state."""
    error = problem.document if problem is not None else None
    return job.model_copy(update={"state": state, "finished_at": now(), "error": error, "links": links_of(job.id)})
