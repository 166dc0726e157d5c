"""API keys: tenants, scopes and limits. The secret of a key is shown once; only its digest is stored."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from archetype.contract.job import Document, now

Tenant = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class Scope(StrEnum):
    """Permission of a key."""

    SUBMIT = "submit"
    READ = "read"
    OPERATE = "operate"


class Limits(Document):
    """Limits of a key or its tenant. A limit that is null is not enforced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    submits_per_minute: int | None = Field(
        default=None, ge=1, description="Largest number of jobs that can be submitted per minute with this key."
    )
    running_jobs: int | None = Field(
        default=None,
        ge=1,
        description="Number of running jobs of the tenant at which new jobs are refused.",
    )
    queued_targets: int | None = Field(
        default=None,
        ge=1,
        description="Largest number of targets in the tenant's unfinished jobs; a job has one per class and seed, or "
        "one per pair of image and class. The images of an archive count one by one.",
    )
    stored_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Largest total size of the tenant's images and results in bytes; above it, jobs and uploads are "
        "refused.",
    )


class NewKey(Document):
    """Body of `POST /v1/keys`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Tenant = Field(
        description="Tenant whose jobs, images and models the key gives access to.", examples=["vision"]
    )
    name: str = Field(
        default="",
        max_length=100,
        description="Name that describes the purpose of the key.",
        examples=["nightly audits"],
    )
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=16)] = Field(
        default=[Scope.SUBMIT, Scope.READ],
        description="Permissions of the key: `submit` jobs and images, `read` jobs, results and models, `operate` "
        "(register models).",
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="Time at which the key expires; if null, it is valid until it is revoked."
    )
    limits: Limits = Field(default=Limits(), description="Limits of the key and its tenant.")


class Key(NewKey):
    """An API key without its secret."""

    id: str = Field(description="Id of the key.")
    created_at: datetime = Field(description="Time at which the key was issued.")
    revoked_at: datetime | None = Field(
        default=None, description="Time at which the key was revoked; null if it was not."
    )

    @property
    def is_valid(self) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now())


class Keys(Document):
    """All API keys, including revoked and expired ones."""

    items: list[Key]


class IssuedKey(Key):
    """A new API key with its token, which is not shown again."""

    token: str = Field(description="Token to send in the header `Authorization: Bearer`. It is shown only once.")
