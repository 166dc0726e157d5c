"""Jobs: state, progress, artifacts, events, and the document that the API returns."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from archetype.contract.problem import ProblemDocument

D = TypeVar("D", bound="Document")

Priority = Literal["interactive", "bulk"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
"""All priorities, the highest first."""

DEFAULT_TENANT = "default"
"""Tenant of jobs that were submitted without an API key."""


class State(StrEnum):
    """State of a job. The last three are terminal: they are written once and never change."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self in TERMINAL


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Document(BaseModel):
    """A frozen JSON document of the contract."""

    model_config = ConfigDict(frozen=True)

    def narrowed(self, kind: type[D]) -> D:
        """Projects the document onto a parent schema, which drops the fields that are only stored."""
        return kind.model_validate({name: getattr(self, name) for name in kind.model_fields})


class Progress(Document):
    """Progress of a job."""

    done: int = Field(default=0, ge=0, description="Number of units that are done.")
    total: int = Field(default=0, ge=0, description="Number of all units; 0 until it is known.")
    unit: str = Field(default="step", description="Unit that is counted.")


class TargetClass(Document):
    """A class of the model."""

    index: int = Field(description="Index of the class in the model's scores.")
    name: str = Field(description="Name of the class.")


class Artifact(Document):
    """A file of a job's result."""

    name: str = Field(description="File name, unique within the job.", examples=["951-lemon.png"])
    media_type: str = Field(description="Media type of the file.", examples=["image/png"])
    bytes: int = Field(description="Size of the file in bytes.")
    sha256: str = Field(description="SHA-256 digest of the file, in hexadecimal.")
    href: str = Field(description="Path of the file, relative to the server.")
    target: TargetClass | None = Field(
        default=None, description="Class that the file belongs to; null if it belongs to none."
    )
    image: str | None = Field(
        default=None, description="Id of the image that the file belongs to; null if it belongs to none."
    )


class Job(Document):
    """A job as `GET /v1/jobs/{id}` returns it."""

    id: str = Field(description="Id of the job.", examples=["01k9v0m2q7gq5n9w3t8yx4r6zs"])
    method: str = Field(description="Name of the method.")
    model: str = Field(description="Model as `name@release`; the release is fixed when the job is accepted.")
    tenant: str = Field(default=DEFAULT_TENANT, description="Tenant that the job belongs to.")
    state: State = Field(description="State of the job.")
    priority: Priority = Field(default="interactive", description="Priority of the job.")
    tags: list[str] = Field(default=[], description="Labels of the job.")
    progress: Progress = Field(default=Progress(), description="Progress of the job.")
    attempt: int = Field(default=0, description="Number of times that a worker started the job.")
    created_at: datetime = Field(description="Time at which the job was accepted.")
    deadline: datetime | None = Field(
        default=None, description="Time at which the job is cancelled if it has not ended; null if there is none."
    )
    retry_of: str | None = Field(
        default=None, description="Id of the job that this job repeats; null if it is not a retry."
    )
    webhook: str | None = Field(
        default=None, description="URL that receives a message when the job has ended; null if there is none."
    )
    started_at: datetime | None = Field(
        default=None, description="Time at which a worker started the job; null if none has."
    )
    finished_at: datetime | None = Field(default=None, description="Time at which the job ended; null if it has not.")
    artifacts: list[Artifact] = Field(
        default=[],
        description="Files of the result. If there are more than a thousand, the first ones; `links.all_artifacts` is "
        "the path of the whole list.",
    )
    metrics: dict[str, Any] = Field(default={}, description="Measured values; their structure depends on the method.")
    error: ProblemDocument | None = Field(
        default=None, description="Reason for which the job failed or was cancelled; null otherwise."
    )
    provenance: dict[str, Any] = Field(
        default={}, description="Origin of the result: request, model digest, device, library versions."
    )
    links: dict[str, str] = Field(default={}, description="Paths of related resources, by name.")

    @property
    def bytes(self) -> int:
        """Size of all artifacts in bytes."""
        return sum(artifact.bytes for artifact in self.artifacts)


class Artifacts(Document):
    """A page of the files of a job: first those that belong to the whole job, then those of its images and classes."""

    items: list[Artifact]
    next_cursor: str | None = Field(default=None, description="Cursor of the next page; null on the last page.")


class Jobs(Document):
    """A page of jobs, newest first. Artifacts and metrics are left out; `GET /v1/jobs/{id}` returns them."""

    items: list[Job]
    next_cursor: str | None = Field(default=None, description="Cursor of the next page; null on the last page.")


def now() -> datetime:
    """The current time in UTC, truncated to milliseconds as in the JSON documents."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def links_of(job_id: str) -> dict[str, str]:
    """Paths of a job and of its cancellation, and the path template of its artifacts."""
    path = f"/v1/jobs/{job_id}"
    return {"self": path, "cancel": f"{path}/cancel", "artifacts": f"{path}/artifacts/{{name}}"}


class Event(Document):
    """A change of a job. Events are kept in a Redis stream, from which the last ten thousand of a tenant can be read.

    The scripts that change the jobs write the events (`shared/queue/scripts/states.lua`).
    """

    id: str = Field(exclude=True, description="Id of the event, which is sent as the SSE field `id`.")
    event: str = Field(
        exclude=True,
        description="Type of the event, which is sent as the SSE field `event`.",
        examples=["job.progress"],
    )
    job: str = Field(description="Id of the job.")
    state: State = Field(description="State of the job after the event.")
    progress: Progress = Field(description="Progress of the job after the event.")
    thumbnail: str | None = Field(
        default=None,
        description="Preview of the intermediate result as a `data:` URL; null if there is no new preview.",
    )
