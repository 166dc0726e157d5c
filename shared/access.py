"""Who may do what: keys, with tenants, scopes and limits. A key's secret is shown once and stored as its digest."""

import hashlib
import re
import secrets
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from shared.jobs import DEFAULT_TENANT, Document, now

Tenant = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]

TOKEN = re.compile(r"archetype_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
"""A key as it is sent: recognisable to whoever scans for secrets, its id first."""


class Scope(StrEnum):
    """What a key may be used for."""

    SUBMIT = "submit"
    READ = "read"
    OPERATE = "operate"


class Limits(Document):
    """How much may be asked for; what is left out has no limit of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    submits_per_minute: int | None = Field(default=None, ge=1, description="Jobs that this key may submit.")
    running_jobs: int | None = Field(
        default=None, ge=1, description="While so many of the tenant's run, none is taken."
    )
    queued_targets: int | None = Field(
        default=None,
        ge=1,
        description="Of all jobs of the tenant that have not ended: classes, or pictures times classes.",
    )
    stored_bytes: int | None = Field(
        default=None, ge=1, description="Of the tenant's pictures and results; while there are more, none is taken."
    )


class NewKey(Document):
    """What `POST /v1/keys` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Tenant = Field(description="Whose jobs, pictures and models it opens.", examples=["vision"])
    name: str = Field(default="", max_length=100, description="What it is for.", examples=["nightly audits"])
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(
        default=[Scope.SUBMIT, Scope.READ],
        description="`submit` jobs and pictures; `read` what is there; `operate`: register models.",
    )
    expires_at: AwareDatetime | None = Field(default=None, description="When it ends; without it, when it is revoked.")
    limits: Limits = Limits()


class Key(NewKey):
    """A key, without what it takes to use it."""

    id: str
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def good(self) -> bool:
        """Whether it can still be used."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now())


class Keys(Document):
    """Every key there is, or was."""

    items: list[Key]


class IssuedKey(Key):
    """A key with what it takes to use it, which is never shown again."""

    token: str = Field(description="To be sent as `Authorization: Bearer`.")


class StoredKey(Key):
    """A key as it is stored."""

    sha256: str

    def fits(self, secret: str) -> bool:
        """Whether this is the key's secret, in a time that says nothing of it."""
        return secrets.compare_digest(_hash(secret), self.sha256)


class Caller(Document):
    """Who asks.

    Attributes:
        key: The id of what was sent; None where nothing needs to be.
        root: Whether it is whoever runs the service, who looks after the keys of all tenants.
    """

    tenant: Tenant = DEFAULT_TENANT
    scopes: frozenset[Scope] = frozenset({Scope.SUBMIT, Scope.READ})
    limits: Limits = Limits()
    key: str | None = None
    root: bool = False


def issue(new: NewKey) -> tuple[StoredKey, str]:
    """A key as it is to be stored, and as its owner is to send it."""
    identity, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    key = StoredKey(**dict(new), id=identity, created_at=now(), sha256=_hash(secret))
    return key, f"archetype_{identity}_{secret}"


def _hash(secret: str) -> str:
    # Not a slow hash: the secret has 256 bits, and cannot be guessed.
    return hashlib.sha256(secret.encode()).hexdigest()
