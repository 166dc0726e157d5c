"""What a job is to those who ask for it, and the manifest that proves that it ended."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from ulid import ULID

from shared.errors import ProblemDocument

D = TypeVar("D", bound="Document")

DEFAULT_TENANT = "default"
"""Whose jobs those are that nobody asked for with a key."""


class State(StrEnum):
    """Where a job stands. The last three are terminal: written once, never changed."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Document(BaseModel):
    """A frozen JSON document of the contract."""

    model_config = ConfigDict(frozen=True)

    def narrowed(self, kind: type[D]) -> D:
        """What it has of a kind that it is more than: what is shown of what is stored."""
        return kind.model_validate({name: getattr(self, name) for name in kind.model_fields})


class Progress(Document):
    """How far a job is."""

    done: int = Field(default=0, ge=0)
    total: int = Field(default=0, ge=0, description="0 until it is known.")
    unit: str = Field(default="step", description="What is counted.")


class TargetClass(Document):
    """A class of the model."""

    index: int
    name: str


class Artifact(Document):
    """One file of a job's result."""

    name: str = Field(description="Unique within the job.", examples=["951-lemon.png"])
    media_type: str = Field(examples=["image/png"])
    bytes: int
    sha256: str
    href: str = Field(description="Where to get it, relative to the server.")
    target: TargetClass | None = None
    image: str | None = Field(default=None, description="Id of the picture that it belongs to.")


class Job(Document):
    """A job as `GET /v1/jobs/{id}` returns it."""

    id: str = Field(examples=["01k9v0m2q7gq5n9w3t8yx4r6zs"])
    method: str
    model: str = Field(description="`name@release`: the release is fixed when the job is accepted.")
    tenant: str = Field(default=DEFAULT_TENANT, description="Whose it is: nobody else sees it.")
    state: State
    priority: Literal["interactive", "bulk"] = "interactive"
    tags: list[str] = []
    progress: Progress = Progress()
    attempt: int = Field(default=0, description="How often a worker took it.")
    created_at: datetime
    deadline: datetime | None = Field(default=None, description="If it has not ended by then, it is cancelled.")
    retry_of: str | None = Field(default=None, description="The job that this one tries again.")
    webhook: str | None = Field(default=None, description="Who is told when it has ended.")
    started_at: datetime | None = None
    finished_at: datetime | None = None
    artifacts: list[Artifact] = []
    metrics: dict[str, Any] = Field(default={}, description="What was measured; its shape belongs to the method.")
    error: ProblemDocument | None = None
    provenance: dict[str, Any] = Field(
        default={}, description="What the result was made with: request, model digest, device, library versions."
    )
    links: dict[str, str] = {}

    @property
    def bytes(self) -> int:
        """Of all its artefacts."""
        return sum(artifact.bytes for artifact in self.artifacts)


class Jobs(Document):
    """A page of jobs, newest first, without their artefacts and metrics: ask for a job by its id to see those."""

    items: list[Job]
    next_cursor: str | None = None


class Order(Document):
    """`request.json`: what was accepted, and all that it takes to make the job's record again.

    Attributes:
        request: As it was checked, every model named with its release.
        shares: How many items each share has: targets, or pairs of picture and target.
        weight: How many places in a batch an item takes.
        after: Jobs that have to end before this one can begin.
        request_id: Of the HTTP request, for logs.
        trace: What its worker goes on with.
    """

    format: Literal[1] = 1
    tenant: str = DEFAULT_TENANT
    request: dict[str, Any]
    lane: str
    shares: list[int]
    weight: int
    created_at: datetime
    deadline: datetime
    retry_of: str | None = None
    after: list[str] = []
    request_id: str = ""
    trace: dict[str, str] = {}

    def job(self, job_id: str) -> Job:
        """The job, queued."""
        said = {name: self.request.get(name) for name in ("method", "model", "priority", "tags", "webhook")}
        return Job(
            id=job_id, tenant=self.tenant, state=State.QUEUED, created_at=self.created_at, deadline=self.deadline,
            retry_of=self.retry_of, links=links_of(job_id),
            **{name: value for name, value in said.items() if value is not None},
        )  # fmt: skip


class Part(Document):
    """What one share of a job came to, where it has several; the last one puts them together.

    Attributes:
        found: What the method has to say of it.
        keys: Where in the bucket each artefact lies, by name.
    """

    format: Literal[1] = 1
    found: dict[str, Any] = {}
    artifacts: list[Artifact] = []
    keys: dict[str, str] = {}
    warnings: list[str] = []
    provenance: dict[str, Any] = {}
    error: ProblemDocument | None = None


class Manifest(Document):
    """What proves that a job ended. There may be several: the one with the highest fence counts.

    Attributes:
        fence: Of the attempt that wrote it.
        keys: Where in the bucket each artefact lies, by name.
    """

    format: Literal[2] = 2
    job: Job
    fence: int
    keys: dict[str, str] = {}


def new_job_id() -> str:
    """A ULID in lower case: unique, and in the order of creation when sorted as text."""
    return str(ULID()).lower()


def now() -> datetime:
    """The time, in UTC, to the millisecond that JSON keeps."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def links_of(job_id: str) -> dict[str, str]:
    """Where a job can be asked for, cancelled, and its artefacts found."""
    here = f"/v1/jobs/{job_id}"
    return {"self": here, "cancel": f"{here}/cancel", "artifacts": f"{here}/artifacts/{{name}}"}
