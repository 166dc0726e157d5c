"""One release of one model in the catalogue, and the resolution of class names to indices."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from archetype.contract.class_names import ClassNames, UnclearTarget
from archetype.contract.model import ReleaseFields
from archetype.contract.problem import MAX_ERRORS, FieldError
from archetype.contract.registration import HUGGING_FACE, NewRelease, check_published
from shared.errors import UnknownTarget
from shared.storage import layout

FolderField = Literal["classes", "preprocessing", "output"]
"""A field that a Hugging Face model folder can provide."""

LIBRARIES = ("torchvision:", "timm:")

WEIGHT_ARGUMENTS = {
    "weights",
    "weights_backbone",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
}
"""Arguments with which torchvision and timm load weights themselves, without the digest check of this service."""


class Release(ReleaseFields):
    """One release of one model. A release never changes: a change is a new release."""

    architecture: str = Field(
        pattern=r"^((builtin|torchvision|timm|factory):[A-Za-z0-9_.-]+|program|huggingface|onnx)$",
        description="`torchvision:NAME`, `timm:NAME`, `factory:NAME` for a factory in the worker's settings, "
        "`huggingface` if the weights are an archive of a Hugging Face model folder, `onnx` if they are an ONNX file, "
        "or `program` if they are an exported program (`.pt2`).",
    )
    weights: Path | None = Field(
        default=None, description="A safetensors file or a state dict, relative to the catalogue."
    )
    classes: list[str] = Field(description="Class names in the order of the network's outputs.")
    from_folder: list[FolderField] = Field(
        default=[],
        description="Fields that the worker that tries the release fills in from its Hugging Face model folder.",
    )
    pictures: Path | None = Field(
        default=None, description="A folder of images like those in the training data, relative to the catalogue."
    )
    tenant: str | None = Field(default=None, description="The only tenant that can use the release; null for all.")
    namespace: SkipJsonSchema[str | None] = Field(
        default=None,
        exclude=True,
        description="The tenant whose own name the model has. Null for names that the operator gives, and for releases "
        "that were registered before version 0.3. It is not stored: the key of the registration says it.",
    )

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if (self.weights is not None) + (self.key is not None) + bool(self.published) > 1:
            raise ValueError("give only one of weights, key and published")
        if self.published and not self.architecture.startswith((*LIBRARIES, HUGGING_FACE)):
            raise ValueError("published weights exist only for architectures of torchvision and timm, and on the hub")
        check_published(self.architecture, published=self.published)
        return self

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if not self.classes and "classes" not in self.from_folder:
            raise ValueError("classes must not be empty")
        return self

    @model_validator(mode="after")
    def _check_arguments(self) -> Self:
        forbidden = WEIGHT_ARGUMENTS & set(self.arguments) if self.architecture.startswith(LIBRARIES) else set()
        if forbidden:
            names = ", ".join(sorted(forbidden))
            raise ValueError(f"arguments must not load weights ({names}); give weights, key or published instead")
        return self

    @property
    def identity(self) -> str:
        """`name@release`, after the namespace if there is one. No two releases have the same."""
        return self.reference if self.namespace is None else f"{self.namespace}/{self.reference}"

    @cached_property
    def class_names(self) -> ClassNames:
        """The class names, by which targets are found."""
        return ClassNames(self.classes, self.reference)

    def resolve_targets(self, targets: list[int | str] | Literal["all"], *, field: str = "/targets") -> list[int]:
        """Class indices of targets, in the order of the targets and without repetitions.

        Args:
            targets: Indices, names, or `all`; see `ClassNames.find`.
            field: JSON pointer to the targets in the request, for errors.

        Raises:
            UnknownTarget: Some targets refer to no class, or to more than one; these targets are listed.
        """
        if targets == "all":
            return list(range(len(self.classes)))
        errors: list[FieldError] = []
        indices: dict[int, None] = {}
        for position, target in enumerate(targets):
            try:
                indices[self.resolve_target(target, field=f"{field}/{position}")] = None
            except UnknownTarget as problem:
                errors += problem.document.errors
                if len(errors) == MAX_ERRORS:
                    break
        if errors:
            raise self._explain(errors)
        return list(indices)

    def resolve_target(self, target: int | str, *, field: str) -> int:
        """Class index of a target; see `ClassNames.find`.

        Args:
            target: An index or a name.
            field: JSON pointer to the target in the request, for errors.

        Raises:
            UnknownTarget: The target refers to no class, or to more than one.
        """
        try:
            return self.class_names.find(target)
        except UnclearTarget as error:
            fault = FieldError(field=field, detail=str(error), given=target, allowed=error.allowed)
            raise self._explain([fault]) from error

    def _explain(self, errors: Sequence[FieldError]) -> UnknownTarget:
        return UnknownTarget(f"{errors[0].detail}; GET /v1/models/{self.name} lists its classes", *errors)


def build_release(new: NewRelease, classes: list[str], tenant: str | None, weights_key: str | None = None) -> Release:
    """The catalogue entry of a registration.

    Args:
        new: The registration.
        classes: Class names in the order of the network's outputs.
        tenant: The only tenant that can use the release, which is one of its own names; None for all.
        weights_key: Key of the uploaded weights in the store; None if there are none.

    Raises:
        ValidationError: The entry is invalid.
    """
    fields = new.model_dump(exclude={"upload", "classes"}) | {"tenant": tenant, "namespace": tenant}
    if new.upload is not None:
        fields |= {"key": weights_key or layout.uploaded_weights(new.upload, tenant), "sha256": new.upload}
    if new.architecture == HUGGING_FACE:
        given = new.model_fields_set - ({"classes"} if new.classes is None else set())
        fields["from_folder"] = [name for name in get_args(FolderField) if name not in given]
    return Release.model_validate({**fields, "classes": classes})
