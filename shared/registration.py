"""A release that an operator registers over HTTP: what it says, and what becomes of it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from shared.catalogue import Digest, Name, Preprocessing, Release
from shared.errors import ProblemDocument
from shared.jobs import Document, now


class NewRelease(Document):
    """What `POST /v1/models` takes. A release never changes: a change is a new release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(examples=["fruit"])
    release: Name = Field(default="1", examples=["2026-11-21"])
    architecture: str = Field(
        pattern=r"^((torchvision|timm|factory):[A-Za-z0-9_.-]+|program)$",
        description="`torchvision:NAME`, `timm:NAME`, `factory:NAME` for one that the workers' settings name, or "
        "`program`: the weights are a program that was exported as `.pt2`, where the operator allows code.",
        examples=["torchvision:resnet18"],
    )
    arguments: dict[str, Any] = Field(default={}, description="Keyword arguments of the architecture.")
    upload: Digest | None = Field(default=None, description="What `POST /v1/weights` answered as `id`.")
    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Where in the bucket the weights lie, if that is allowed.",
    )
    published: bool | str = Field(
        default=False, description="True: the library's own weights; or, of torchvision's, which."
    )
    sha256: Digest | None = Field(default=None, description="Of the weights; checked when given.")
    classes: Annotated[list[str], Field(min_length=1, max_length=100_000)] | str = Field(
        description="Class names in the order of the scores, or `imagenet` or `cifar10`."
    )
    preprocessing: Preprocessing = Preprocessing()
    score_layer: str | None = Field(
        default=None, description="The layer that gives the class scores, where they are not found by themselves."
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.upload is not None) + (self.key is not None) + bool(self.published) != 1:
            raise ValueError("give upload, key or published, one of them")
        if self.upload is not None and self.sha256 not in (None, self.upload):
            raise ValueError("an upload's id is its SHA-256, and sha256 is another one")
        return self

    def to_release(self, classes: list[str], tenant: str | None) -> Release:
        """The same as an entry of the catalogue."""
        given = self.model_dump(exclude={"upload", "classes"}) | {"tenant": tenant}
        if self.upload is not None:
            given |= {"key": f"weights/{self.upload}", "sha256": self.upload}
        return Release.model_validate({**given, "classes": classes})


class RegistrationState(StrEnum):
    """Where a registration stands."""

    TRYING = "trying"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Registration(Document):
    """A release with what became of it: a worker loads it once before anybody can use it."""

    entry: Release
    state: RegistrationState = RegistrationState.TRYING
    registered_at: datetime = Field(default_factory=now)
    attempt: int = Field(default=0, description="How often a worker tried it.")
    error: ProblemDocument | None = None
