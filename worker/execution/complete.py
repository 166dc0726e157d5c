"""Completes attempts: stores the result, the failure or the cancellation, and ends the shard or the job in Redis."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from archetype.contract.job import Job, State
from shared.errors import Problem, Unavailable
from shared.lifecycle.finish import finish_job, save_shard_result, to_cancelled, to_finished
from shared.queue.claims import Claim, ClaimLost
from shared.storage.documents import ShardResult
from worker.engine.scores.reader import PLAIN_SCORES
from worker.execution.attempt import Attempt
from worker.execution.worker_context import WorkerContext
from worker.output.artifacts import AttemptOutput

log = structlog.get_logger()


def succeed(worker_context: WorkerContext, attempt: Attempt, metrics: dict[str, Any]) -> Claim | None:
    """Stores the result of an attempt.

    Returns:
        The claim to assemble the job, if this was the last of several shards; else None.

    Raises:
        ClaimLost: The shard belongs to another worker.
        Unavailable: Redis or the store does not answer.
    """
    output = attempt.output
    output.wait_for_files()
    if attempt.is_partial:
        result = ShardResult(
            metrics=metrics,
            artifacts=output.artifacts,
            keys=output.keys,
            warnings=output.warnings,
            provenance=output.provenance,
        )
        return store_shard_result(worker_context, attempt, result)
    notes = describe_notes(output)
    job = find_job(worker_context, attempt)
    provenance = output.provenance | {"seconds": describe_times(attempt, job)}
    fields = {"artifacts": output.artifacts, "metrics": notes | metrics, "provenance": provenance}
    complete_job(worker_context, attempt, to_finished(job, State.SUCCEEDED).model_copy(update=fields))
    return None


def describe_notes(output: AttemptOutput) -> dict[str, Any]:
    """Returns the warnings, and how scores were read if they are not simply the network's output, for the metrics."""
    notes: dict[str, Any] = {"warnings": output.warnings} if output.warnings else {}
    read = output.provenance.get("model", {}).get("output", PLAIN_SCORES.describe())
    return notes | ({"output": read} if read != PLAIN_SCORES.describe() else {})


def fail(worker_context: WorkerContext, attempt: Attempt, problem: Problem) -> Claim | None:
    """Stores why an attempt failed; returns and raises as `succeed`."""
    if attempt.is_partial:
        result = ShardResult(error=problem.document, provenance=attempt.output.provenance)
        return store_shard_result(worker_context, attempt, result)
    job = find_job(worker_context, attempt)
    complete_job(worker_context, attempt, to_finished(job, State.FAILED, problem=problem))
    return None


def cancel(worker_context: WorkerContext, attempt: Attempt, reason: str) -> Claim | None:
    """Stores that the job was cancelled; returns and raises as `succeed`."""
    if attempt.is_partial:
        return worker_context.claims.finish_shard(attempt.claim, worker_context.owner)
    complete_job(worker_context, attempt, to_cancelled(find_job(worker_context, attempt), reason))
    return None


@dataclass(frozen=True)
class Ended:
    """A shard has ended in Redis.

    Attributes:
        assembly: The claim to assemble the job, if this was its last shard.
    """

    assembly: Claim | None = None


def complete_again(worker_context: WorkerContext, attempt: Attempt) -> Ended | None:
    """Ends a shard whose earlier attempt stored the result, but died before it could end the shard in Redis.

    Returns:
        None if there is no such result.
    """
    claim = attempt.claim
    earlier = worker_context.storage.load_manifest(claim.job_id)
    if earlier is not None:
        complete_job(worker_context, attempt, earlier.job)
        return Ended()
    if attempt.is_partial and worker_context.storage.load_shard_result(claim.job_id, claim.shard) is not None:
        return Ended(worker_context.claims.finish_shard(claim, worker_context.owner))
    return None


def describe_times(attempt: Attempt, job: Job) -> dict[str, float]:
    """Returns the seconds from the acceptance of the job to the claim of this attempt, and to its first step."""
    moments = {"claimed": attempt.claimed_at, "first_step": attempt.first_step_at}
    return {name: (moment - job.created_at).total_seconds() for name, moment in moments.items() if moment is not None}


def store_shard_result(worker_context: WorkerContext, attempt: Attempt, result: ShardResult) -> Claim | None:
    """Stores the result of one shard of several, then ends the shard in Redis; returns and raises as `succeed`."""
    claim = attempt.claim
    worker_context.claims.renew(claim, attempt.heartbeat.progress)
    save_shard_result(worker_context.claims, worker_context.storage, claim, result, worker_context.owner)
    assembly = worker_context.claims.finish_shard(claim, worker_context.owner)
    delete_checkpoints(worker_context, attempt)
    return assembly


def complete_job(worker_context: WorkerContext, attempt: Attempt, job: Job) -> None:
    """Ends the whole job in this state."""
    progress = attempt.heartbeat.progress if attempt.claim.shards == 1 else job.progress
    if job.state is State.SUCCEEDED and progress.total:
        progress = progress.model_copy(update={"done": progress.total})
    job = job.model_copy(update={"progress": progress})
    job = finish_job(
        worker_context.claims, worker_context.storage, worker_context.outbox, attempt.claim, job, attempt.output.keys
    )
    delete_checkpoints(worker_context, attempt)
    log.info("job.ended", state=job.state)


def delete_checkpoints(worker_context: WorkerContext, attempt: Attempt) -> None:
    """Deletes the checkpoints of a shard that has ended; if that fails now, they are deleted with the job."""
    if attempt.saving is not None:
        attempt.saving.result()
    if attempt.saving is not None or attempt.claim.resumes:
        with suppress(Unavailable):
            worker_context.storage.delete_checkpoints(attempt.claim.job_id, attempt.claim.shard)


def find_job(worker_context: WorkerContext, attempt: Attempt) -> Job:
    """Returns the record of the job.

    Raises:
        ClaimLost: Redis has no record of the job.
    """
    job = worker_context.job_index.find(attempt.claim.job_id)
    if job is None:
        raise ClaimLost(attempt.claim.ref)
    return job
