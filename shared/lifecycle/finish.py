"""Finishes jobs: writes the manifest to S3 first, because S3 is the source of truth, then the terminal state."""

from collections.abc import Mapping

from archetype.contract.job import Job, Progress, State, links_of, now
from shared.errors import DeadlineExceeded, Problem
from shared.queue.claims import Claim, Claims
from shared.state.metrics import count_finished_job
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox, describe_end

DEADLINE = "deadline"
"""The reason of a cancellation because the deadline has passed."""


def finish_job(
    claims: Claims, storage: JobStore, outbox: Outbox, claim: Claim, job: Job, keys: Mapping[str, str] | None = None
) -> Job:
    """Finishes a job, once. If an earlier attempt has already written a manifest, that manifest counts.

    Args:
        claims: The claims.
        storage: The store.
        outbox: Gets the message to the job's webhook.
        claim: The claim on the job.
        job: The job in its terminal state.
        keys: Key in the bucket of each artifact, by name.

    Returns:
        The finished job of the manifest that counts.

    Raises:
        ClaimLost: The claim is void.
    """
    no_progress, moment = Progress(), claims.redis_client.now()
    claims.renew(claim, no_progress)  # checks that the claim is still valid
    manifest = storage.load_manifest(claim.job_id)
    if manifest is None:
        finished = job.model_copy(update={"finished_at": moment})  # retention compares it on another machine
        manifest = Manifest(job=finished, fence=claim.fence, keys=dict(keys or {}))
        storage.save_manifest(manifest)
    message = describe_end(manifest.job, moment) if manifest.job.webhook is not None else None
    if message is not None:
        outbox.put(message)
    claims.finish_job(claim, manifest)
    storage.close(claim.job_id)
    count_finished_job(claims.redis_client, manifest.job)
    if message is not None:
        outbox.schedule(message, message.begun_at)
    return manifest.job


def to_finished(job: Job, state: State, *, problem: Problem | None = None) -> Job:
    """A copy of the job that finishes now, in this terminal state."""
    error = problem.document if problem is not None else None
    return job.model_copy(update={"state": state, "finished_at": now(), "error": error, "links": links_of(job.id)})


def to_cancelled(job: Job, why: str) -> Job:
    """A copy of the job that is cancelled now.

    Args:
        job: The job.
        why: The reason that `Claims.withdraw` got; `deadline` adds an error to the job.
    """
    if why != DEADLINE:
        return to_finished(job, State.CANCELLED)
    limit = f"{job.deadline:%Y-%m-%d %H:%M:%S} UTC" if job.deadline else "its deadline"
    problem = DeadlineExceeded(
        f"the job had not finished by {limit}; submit it again with a later deadline (Cancel-After) or fewer targets"
    )
    return to_finished(job, State.CANCELLED, problem=problem)
