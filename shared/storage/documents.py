"""Documents that are stored of jobs and releases: accepted requests, shard results, manifests and registrations."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, Field

from archetype.contract.job import DEFAULT_TENANT, Artifact, Document, Job, State, links_of, now
from archetype.contract.problem import ProblemDocument
from shared.catalogue.release import Release
from shared.queue.sharding import ImageRange

JOB_FIELDS = ("method", "model", "priority", "tags", "webhook")
"""Fields of a request that are also fields of the job."""


class StoredDocument(Document):
    """A stored document whose fields may have been renamed.

    A field with an alias is written and read under the alias, which is the name that earlier versions used. It is also
    read under its own name.
    """

    model_config = ConfigDict(frozen=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)


class JobSpec(StoredDocument):
    """`request.json`: an accepted request, with everything that is needed to queue its job again.

    Attributes:
        format: Version of this schema. In 2, request parameters have their new names (`regularizers`, `gradient`, …). A
            job over images that has several shards has 3, so that workers that cannot split images leave it to others.
        tenant: Tenant that owns the job.
        request: The validated request; every model is named with its release.
        lane: Lane of the job's shards.
        shards: Number of items of each shard. An item is a target, or a pair of image and target.
        weight: Number of batch slots of one item.
        images: The images of each shard, if a job over images has several.
        work: Number of results, which limits count; None if an earlier version stored the request, which counted items.
        created_at: When the request was accepted.
        deadline: When the job is cancelled if it has not finished.
        retry_of: Id of the job that this one repeats.
        after: Ids of jobs that must finish before this one can start.
        in_audit: Whether the job is an audit or a member of one, which retention keeps; None if an earlier version,
            which marked them with a tag, stored the request.
        request_id: Id of the HTTP request, for logs.
        trace: Trace context that the worker continues.
    """

    format: Literal[1, 2, 3] = 2
    tenant: str = DEFAULT_TENANT
    request: dict[str, Any]
    lane: str
    shards: list[int] = Field(alias="shares")
    weight: int
    images: tuple[ImageRange, ...] = ()
    work: int | None = None
    created_at: datetime
    deadline: datetime
    retry_of: str | None = None
    after: list[str] = Field(default=[])
    in_audit: bool | None = None
    request_id: str = ""
    trace: dict[str, str] = Field(default={})

    @property
    def counted_targets(self) -> int:
        """Number of targets that limits count."""
        return sum(self.shards) if self.work is None else self.work

    def job(self, job_id: str) -> Job:
        """The queued job."""
        fields = {name: self.request[name] for name in JOB_FIELDS if self.request.get(name) is not None}
        return Job(
            id=job_id,
            tenant=self.tenant,
            state=State.QUEUED,
            created_at=self.created_at,
            deadline=self.deadline,
            retry_of=self.retry_of,
            links=links_of(job_id),
            **fields,
        )


class ShardResult(StoredDocument):
    """Result of one shard of a job that has several. The assembly of the job reads all of them.

    Attributes:
        format: Version of this schema.
        metrics: Metrics that the method returned for the shard.
        artifacts: Artifacts of the shard.
        keys: Key in the bucket of each artifact, by name.
        warnings: Warnings for the user.
        provenance: What the result was made with.
        error: Why the shard failed, if it failed.
    """

    format: Literal[1] = 1
    metrics: dict[str, Any] = Field(default={}, alias="found")
    artifacts: list[Artifact] = Field(default=[])
    keys: dict[str, str] = Field(default={})
    warnings: list[str] = Field(default=[])
    provenance: dict[str, Any] = Field(default={})
    error: ProblemDocument | None = None


class Manifest(Document):
    """Proof that a job has finished. If there are several, the one with the highest fence counts.

    Attributes:
        format: Version of this schema.
        job: The finished job.
        fence: Fence of the attempt that wrote the manifest.
        keys: Key in the bucket of each artifact, by name.
    """

    format: Literal[2] = 2
    job: Job
    fence: int
    keys: dict[str, str] = Field(default={})


class RegistrationState(StrEnum):
    """State of a registration. `TRYING` means that no worker has checked the release yet."""

    TRYING = "trying"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Registration(Document):
    """A registered release and the result of its check: a worker loads it once before it can be used."""

    entry: Release
    state: RegistrationState = RegistrationState.TRYING
    registered_at: datetime = Field(default_factory=now)
    attempt: int = Field(default=0, description="Number of attempts of workers to load the release.")
    error: ProblemDocument | None = None
