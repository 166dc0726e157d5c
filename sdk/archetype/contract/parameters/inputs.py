"""Inputs of a job: classes, images, and annotations of images."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from archetype.contract.class_names import MAX_NAME_LENGTH
from archetype.contract.parameters.types import ImageId, Parameters

Target = Annotated[
    Annotated[int, Field(strict=True, ge=0)]
    | Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)],
    Field(
        description="Class of the model: its index as a number, or its name as text. `#951` is the index 951 as text.",
        examples=["lemon", 951],
    ),
]
Targets = Annotated[list[Target], Field(min_length=1, max_length=1000)]


class Top(Parameters):
    """The classes with the highest scores, chosen for each image."""

    top: int = Field(ge=1, le=100, description="Number of classes per image.")


class TrueBox(Parameters):
    """True bounding box of an object, in pixels of the uploaded image after EXIF rotation.

    The right and bottom edges are exclusive.
    """

    left: float = Field(ge=0, description="Left edge in pixels.")
    top: float = Field(ge=0, description="Top edge in pixels.")
    right: float = Field(gt=0, description="Right edge in pixels, exclusive.")
    bottom: float = Field(gt=0, description="Bottom edge in pixels, exclusive.")
    target: Target | None = Field(
        default=None, description="Class of the object; if null, the box is valid for every target of the image."
    )

    @model_validator(mode="after")
    def _check_area(self) -> Self:
        if self.right <= self.left or self.bottom <= self.top:
            raise ValueError("right must be larger than left, and bottom larger than top")
        return self


class ImageInput(Parameters):
    """An uploaded image with optional targets and true boxes."""

    id: ImageId
    targets: Targets | None = Field(
        default=None, description="Classes to use for this image; if null, the targets of the job."
    )
    boxes: list[TrueBox] = Field(
        default=[], max_length=100, description="True bounding boxes, which the results are evaluated against."
    )


class Archive(Parameters):
    """All images of an uploaded archive."""

    archive: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="Id of an uploaded archive, as returned by `POST /v1/archives`."
    )


class StorePrefix(Parameters):
    """All images under a key prefix of the S3 bucket that the operator allows."""

    prefix: str = Field(
        min_length=1, max_length=500, description="Prefix of the images' keys in the bucket.", examples=["probes/"]
    )
