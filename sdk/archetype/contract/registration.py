"""Registration of a model release over HTTP."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from archetype.contract.class_names import check_names
from archetype.contract.job import Document
from archetype.contract.model import Digest, ReleaseFields
from archetype.contract.problem import ProblemDocument

HUGGING_FACE = "huggingface"
"""Architecture of a release whose weights are an archive of a Hugging Face model folder."""

ONNX = "onnx"
"""Architecture of a release whose weights are an ONNX file."""

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}@[0-9a-f]{40}")
"""A repository of the Hugging Face hub at a commit."""


def check_published(architecture: str, *, published: bool | str) -> None:
    """Raises `ValueError` if `published` of a model folder is not a repository of the hub at a commit."""
    if published and architecture == HUGGING_FACE and not REPOSITORY.fullmatch(str(published)):
        raise ValueError(
            "published of a model folder is a repository of the Hugging Face hub at a commit, OWNER/NAME@COMMIT with "
            "the 40 digits of the commit; `git ls-remote https://huggingface.co/OWNER/NAME HEAD` prints it"
        )


class NewRelease(ReleaseFields):
    """Body of `POST /v1/models`. A release never changes; a changed network needs a new release."""

    architecture: str = Field(
        pattern=r"^((torchvision|timm|factory):[A-Za-z0-9_.-]+|program|huggingface|onnx)$",
        description="Architecture of the network: `torchvision:NAME`, `timm:NAME`, `factory:NAME` for a factory in "
        "the workers' settings, `huggingface` if the weights are an archive of a Hugging Face model folder (of timm or "
        "of an image classifier of transformers), `onnx` if the weights are an ONNX file, or `program` if they are an "
        "exported program (`.pt2`) and the operator allows code.",
        examples=["torchvision:resnet18"],
    )
    upload: Digest | None = Field(
        default=None, description="Id of uploaded weights, as returned by `POST /v1/weights`."
    )
    classes: Annotated[list[str], Field(min_length=1, max_length=100_000)] | str | None = Field(
        default=None,
        validate_default=True,
        description="Class names in the order of the scores, or the name of a built-in list: `imagenet` or `cifar10`. "
        "Names may be equal; they must not be empty or contain control characters. Required, except for a Hugging Face "
        "model folder: then null means its own names, and without `preprocessing`, that of its image processor is "
        "used.",
    )

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: list[str] | str | None, info: ValidationInfo) -> list[str] | str | None:
        if classes is None and info.data.get("architecture", HUGGING_FACE) != HUGGING_FACE:
            raise ValueError("class names are required, in the order of the scores; or imagenet or cifar10")
        return check_names(classes) if isinstance(classes, list) else classes

    @model_validator(mode="after")
    def _check_resize(self) -> Self:
        """Refuses to cut an area out of an image that is smaller: some libraries would fill up its edges with black."""
        wanted = self.preprocessing
        if wanted and wanted.resize is not None and wanted.fit != "stretch" and wanted.resize < min(wanted.size):
            raise ValueError(
                f"preprocessing.resize is {wanted.resize}, and the shorter side of the input {min(wanted.size)}; it is "
                "the length of the shorter side before the center is cut out, so it cannot be less"
            )
        return self

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.upload is not None) + (self.key is not None) + bool(self.published) != 1:
            raise ValueError("give exactly one of upload, key and published")
        check_published(self.architecture, published=self.published)
        if self.upload is not None and self.sha256 not in (None, self.upload):
            raise ValueError("sha256 differs from upload, whose id is the SHA-256 digest of the weights; omit sha256")
        return self


class RegisteredRelease(Document):
    """A registered release and the result of its check."""

    model: str = Field(description="`NAME@RELEASE`.")
    state: Literal["trying", "accepted", "refused"] = Field(
        description="`trying` until a worker has loaded the release; then `accepted` or `refused`."
    )
    registered_at: datetime = Field(description="Time at which it was registered.")
    attempts: int = Field(description="Number of attempts of workers to load it.")
    error: ProblemDocument | None = Field(default=None, description="Why it was refused; null otherwise.")


class Registrations(Document):
    """The registered releases of a tenant, the newest first."""

    items: list[RegisteredRelease]
