"""Stores a job that ends when it is accepted, because its result is known without a worker."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from archetype.contract.job import Artifact, Job, Progress, State
from archetype.version import VERSION
from shared.lifecycle.finish import to_finished
from shared.queue.claims import Claims
from shared.state.job_index import JobIndex
from shared.state.metrics import count_finished_job
from shared.storage.documents import JobSpec, Manifest
from shared.storage.job_store import JobStore
from shared.storage.outbox import Outbox, describe_end

FIRST_FENCE = 1
"""Fence of the manifest. If a worker runs the job nevertheless, its fence is higher."""

log = structlog.get_logger()


@dataclass(frozen=True)
class ImmediateEnd:
    """Stores jobs that end when they are accepted.

    Attributes:
        claims: Announces the end.
        job_index: Gets the record.
        storage: The store.
        outbox: Gets the message to the job's webhook.
    """

    claims: Claims
    job_index: JobIndex
    storage: JobStore
    outbox: Outbox

    def end(
        self, job_id: str, spec: JobSpec, metrics: Mapping[str, Any], files: Mapping[str, tuple[bytes, str]]
    ) -> Job:
        """Stores the request, the files and the manifest of a job, in this order, and then its record.

        If the process stops before the manifest is stored, recovery enqueues the job, and a worker computes its result.

        Args:
            job_id: The job.
            spec: The accepted request.
            metrics: Measured values of the result.
            files: Data and media type of each artifact, by name.

        Returns:
            The job, which has succeeded.
        """
        self.storage.save_spec(job_id, spec)
        keys = {
            name: self.storage.save_artifact(job_id, FIRST_FENCE, name, data, media_type=media_type)
            for name, (data, media_type) in files.items()
        }
        artifacts = [_describe_file(job_id, name, *file) for name, file in files.items()]
        job = _finish(spec.job(job_id), self.claims.redis_client.now(), artifacts, metrics)
        manifest = Manifest(job=job, fence=FIRST_FENCE, keys=keys)
        self.storage.save_manifest(manifest)
        self.job_index.save_finished(manifest)
        self.storage.close(job_id)
        self._announce(job)
        return job

    def _announce(self, job: Job) -> None:
        log.info("job.ended", job_id=job.id, state=job.state)
        self.claims.announce_end(job.id)
        count_finished_job(self.claims.redis_client, job)
        if job.webhook is not None:
            message = describe_end(job, self.outbox.now())
            self.outbox.put(message)
            self.outbox.schedule(message, message.begun_at)


def _finish(job: Job, moment: datetime, artifacts: list[Artifact], metrics: Mapping[str, Any]) -> Job:
    fields = {
        "started_at": job.created_at,
        "finished_at": moment,
        "progress": Progress(done=1, total=1, unit="report"),
        "artifacts": artifacts,
        "metrics": dict(metrics),
        "provenance": {"version": VERSION},
    }
    return to_finished(job, State.SUCCEEDED).model_copy(update=fields)


def _describe_file(job_id: str, name: str, data: bytes, media_type: str) -> Artifact:
    return Artifact(
        name=name,
        media_type=media_type,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        href=f"/v1/jobs/{job_id}/artifacts/{name}",
    )
