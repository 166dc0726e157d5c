"""What a job is about: classes, and pictures with what is known of them."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from shared.parameters.fields import ImageId, Parameters

Target = Annotated[
    Annotated[int, Field(strict=True, ge=0)] | Annotated[str, StringConstraints(min_length=1, max_length=200)],
    Field(description="A class of the model: its index or its name.", examples=["lemon", 951]),
]
Targets = Annotated[list[Target], Field(min_length=1, max_length=1000)]


class Top(Parameters):
    """The classes that the model gives the highest scores, picture by picture."""

    top: int = Field(ge=1, le=100, description="How many.")


class TrueBox(Parameters):
    """Where the object is, in the uploaded picture's own pixels after EXIF rotation; right and bottom exclusive."""

    left: float = Field(ge=0)
    top: float = Field(ge=0)
    right: float = Field(gt=0)
    bottom: float = Field(gt=0)
    target: Target | None = Field(default=None, description="The class of what is in it; without it, any will do.")

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        if self.right <= self.left or self.bottom <= self.top:
            raise ValueError("right must be more than left, and bottom more than top")
        return self


class Picture(Parameters):
    """A picture with what is known of it."""

    id: ImageId
    targets: Targets | None = Field(default=None, description="Classes to look for in this one, instead of the job's.")
    boxes: list[TrueBox] = Field(default=[], max_length=100, description="Where the targets are, to measure against.")


class Archive(Parameters):
    """Every picture of an uploaded archive."""

    archive: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="What `POST /v1/archives` answered as `id`."
    )


class Shelf(Parameters):
    """Every picture of a place in the store that the operator allows."""

    prefix: str = Field(min_length=1, max_length=500, description="What their keys begin with.", examples=["probes/"])
