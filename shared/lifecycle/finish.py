"""Finishes jobs: writes the manifest to S3 first, because S3 is the source of truth, then the terminal state."""

from collections.abc import Mapping

import structlog

from archetype.contract.job import Job, Progress, State, links_of, now
from shared.errors import DeadlineExceeded, JobRefused, ObjectRefused, Problem
from shared.queue.claims import Claim, Claims
from shared.state.metrics import count_finished_job
from shared.storage.documents import Manifest, ShardResult
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox, describe_end

log = structlog.get_logger()

DEADLINE = "deadline"
"""The reason of a cancellation because the deadline has passed."""

REFUSED = "refused: "
"""Begin of the reason of a cancellation because the store refuses objects of the job; the detail follows."""

NO_MANIFEST = 0
"""Fence of a manifest that the store did not accept: the end of the job is in Redis alone."""


def finish_job(
    claims: Claims, storage: JobStore, outbox: Outbox, claim: Claim, job: Job, keys: Mapping[str, str] | None = None
) -> Job:
    """Finishes a job, once. If an earlier attempt has already written a manifest, that manifest counts.

    If the store refuses the manifest of this one job, a failure or cancellation is written to Redis alone: otherwise
    the job would never end.

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
        Unavailable: Redis or the store does not answer, or the store refuses the manifest of a result.
    """
    no_progress, moment = Progress(), claims.redis_client.now()
    claims.renew(claim, no_progress)  # checks that the claim is still valid
    finished = job.model_copy(update={"finished_at": moment})  # retention compares it on another machine
    manifest = _store_manifest(storage, Manifest(job=finished, fence=claim.fence, keys=dict(keys or {})))
    message = describe_end(manifest.job, moment) if manifest.job.webhook is not None else None
    if message is not None:
        outbox.put(message)
    claims.finish_job(claim, manifest)
    _close(storage, claim.job_id)
    count_finished_job(claims.redis_client, manifest.job)
    if message is not None:
        outbox.schedule(message, message.begun_at)
    return manifest.job


def _store_manifest(storage: JobStore, manifest: Manifest) -> Manifest:
    """Stores a manifest, unless there is one; returns the one that counts."""
    job = manifest.job
    earlier = storage.load_manifest(job.id)  # one that exists counts, even if it cannot be read now
    if earlier is not None:
        return earlier
    try:
        storage.save_manifest(manifest)
    except ObjectRefused as problem:
        if job.state is State.SUCCEEDED or not storage.accepts_jobs():
            raise
        log.warning("job.manifest_refused", job_id=job.id, error=problem.detail)
        return manifest.model_copy(update={"fence": NO_MANIFEST})
    return manifest


def save_shard_result(claims: Claims, storage: JobStore, claim: Claim, result: ShardResult, owner: str) -> None:
    """Stores the result of one shard of several.

    If the store refuses the error of a shard of this one job, the job cannot be assembled. Then its other shards are
    withdrawn, and it fails when none of them runs any more.

    Args:
        claims: The claims.
        storage: The store.
        claim: The claim on the shard.
        result: Its result.
        owner: Name of the process, for logs.

    Raises:
        Unavailable: Redis or the store does not answer, or the store refuses a result that is no error.
    """
    try:
        storage.save_shard_result(claim.job_id, claim.shard, claim.fence, result)
    except ObjectRefused as problem:
        if result.error is None or not storage.accepts_jobs():
            raise
        log.warning("shard.result_refused", shard=claim.ref, error=problem.detail)
        claims.withdraw(claim.job_id, REFUSED + problem.detail, owner)


def _close(storage: JobStore, job_id: str) -> None:
    try:
        storage.close(job_id)
    except ObjectRefused as problem:
        log.warning("job.marker_refused", job_id=job_id, error=problem.detail)


def to_finished(job: Job, state: State, *, problem: Problem | None = None) -> Job:
    """A copy of the job that finishes now, in this terminal state."""
    error = problem.document if problem is not None else None
    return job.model_copy(update={"state": state, "finished_at": now(), "error": error, "links": links_of(job.id)})


def to_cancelled(job: Job, why: str) -> Job:
    """A copy of the job that is cancelled now.

    Args:
        job: The job.
        why: The reason that `Claims.withdraw` got; `deadline` adds an error to the job, `REFUSED` makes it fail.
    """
    if why.startswith(REFUSED):
        return to_finished(job, State.FAILED, problem=explain_refusal(why.removeprefix(REFUSED)))
    if why != DEADLINE:
        return to_finished(job, State.CANCELLED)
    limit = f"{job.deadline:%Y-%m-%d %H:%M:%S} UTC" if job.deadline else "its deadline"
    problem = DeadlineExceeded(
        f"the job had not finished by {limit}; submit it again with a later deadline (Cancel-After) or fewer targets"
    )
    return to_finished(job, State.CANCELLED, problem=problem)


def explain_refusal(detail: str) -> JobRefused:
    """The problem of a job whose objects the store refuses.

    Args:
        detail: What the store answered.
    """
    return JobRefused(f"{detail}. It accepts objects of other jobs; correct its policy, then submit the job again")
