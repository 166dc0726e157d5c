"""Rules of the operator: what the versions of registered models are. A registry does not say how weights are loaded."""

import re
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from archetype.contract.registration import NewRelease

SETTING = "ARCHETYPE_MLFLOW_MODELS"

VERSION = re.compile(r"[1-9][0-9]{0,8}")
"""A version of a registered model."""

SOURCES = ("release", "upload", "key", "published", "sha256")
"""Fields of a registration that the import fills in."""


class ImportRule(BaseModel):
    """What the versions of a registered model are.

    Attributes:
        register_as: The fields of `POST /v1/models` without release and weights: `name`, `architecture`, `classes`,
            `preprocessing` and so on.
        file: Path of the weights below the artifacts of a version; None to find them.
        first_version: Earlier versions are not imported.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    register_as: dict[str, Any]
    file: str | None = Field(default=None, min_length=1, max_length=500, pattern=r"^[^/].*[^/]$")
    first_version: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        given = [name for name in SOURCES if name in self.register_as]
        if given:
            raise ValueError(f"register_as must not contain {', '.join(given)}: versions differ in them")
        if ".." in (self.file or "").split("/"):
            raise ValueError("file leads out of the artifacts of the version")
        self.make_release("1", "0" * 64)
        return self

    @property
    def name(self) -> str:
        """Name of the model in the catalogue."""
        return str(self.register_as["name"])

    @property
    def architecture(self) -> str:
        """Architecture of the network."""
        return str(self.register_as["architecture"])

    def covers(self, version: str) -> bool:
        """Whether a version is imported."""
        return VERSION.fullmatch(version) is not None and int(version) >= self.first_version

    def make_release(self, version: str, sha256: str) -> NewRelease:
        """Returns the registration of a version whose weights were uploaded."""
        return NewRelease.model_validate(self.register_as | {"release": version, "upload": sha256})
