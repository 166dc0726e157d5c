"""Versions of an MLflow registry that the service imports."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from archetype.contract.job import Document


class ImportedVersion(Document):
    """A version of a registered model, and what became of its import."""

    registered_model: str = Field(description="Name in the registry.")
    version: str = Field(description="Its version, which is the name of the release.")
    model: str = Field(description="The release, as `name@release`.")
    state: Literal["pending", "registered", "refused", "given_up"] = Field(
        description="`pending`: weights are fetched, or a worker tries them. `refused`: they cannot be used. "
        "`given_up`: the registry did not answer for a day."
    )
    detail: str | None = Field(default=None, description="Why it was refused, or why it is still pending.")
    sha256: str | None = Field(default=None, description="SHA-256 digest of the weights, once they were fetched.")
    at: datetime = Field(description="When the state was reached.")


class ImportedVersions(Document):
    """Versions of the registry, the newest first."""

    items: list[ImportedVersion]
