"""Base classes and field types that the parameters of several methods share."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

OLD_NAMES_UNTIL = "0.4"
"""The version that no longer accepts the old names of renamed parameters."""

STACK_LEVEL = 4
"""Frames from `warnings.warn` to the caller of pydantic: `_rename`, the validator, pydantic, the caller."""

ImageId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$"),
    Field(description="Id of an uploaded image, as returned by `POST /v1/images`."),
]
Side = Annotated[int, Field(ge=8, le=2048)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
LayerName = Annotated[
    str,
    Field(min_length=1, max_length=200, description="Name of a layer; `GET /v1/models/{name}` lists the layers."),
]


def _check_unique(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("give each layer only once")
    return names


Layers = Annotated[list[LayerName], Field(max_length=1000), AfterValidator(_check_unique)]
ViewMode = Literal["crop", "whole"]
VIEW_MODE = (
    "Part of the image that the network sees: `crop` applies the preprocessing that the network was trained with; "
    "`whole` stretches the whole image to the network's input size."
)


@dataclass(frozen=True)
class NamedLayer:
    """A layer that a request names.

    Attributes:
        place: Path of the layer's name within the parameters, for example `objective/0/layer`.
        name: Name of the layer.
        channel: Largest channel index that the request uses, None if it names no channel.
        channel_place: Path of that channel within the parameters.
    """

    place: str
    name: str
    channel: int | None = None
    channel_place: str = ""


class Parameters(BaseModel):
    """Base of all parameters: frozen; unknown names are refused.

    A subclass can rename fields and define presets by class attributes. Both are applied before the validation of the
    fields: first old names are replaced, then missing values are taken from the preset.

    Attributes:
        RENAMED: New names of renamed fields by their old names. The old names are accepted with a `FutureWarning`.
        ADDED: Fields that do not count in digests while they have their defaults; see `dump_with_old_names`.
        PRESETS: Values of parameters by the name of the preset.
        APPLIES: For parameters that only some values of another parameter use: that parameter and those values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    RENAMED: ClassVar[Mapping[str, str]] = {}
    ADDED: ClassVar[frozenset[str]] = frozenset()
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    APPLIES: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _rename_and_fill_in(cls, fields: Any) -> Any:
        return cls._fill_in_preset(cls._rename(fields)) if isinstance(fields, dict) else fields

    @classmethod
    def _rename(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Replaces old names of fields. Raises `ValueError` if a field has both names."""
        old_names = [name for name in fields if name in cls.RENAMED]
        for old in old_names:
            new = cls.RENAMED[old]
            if new in fields:
                raise ValueError(f"{old} is the old name of {new}; give only {new}")
            message = f"parameter {old!r} is now called {new!r}; version {OLD_NAMES_UNTIL} no longer accepts {old!r}"
            warnings.warn(message, FutureWarning, stacklevel=STACK_LEVEL)
        return {cls.RENAMED.get(name, name): value for name, value in fields.items()} if old_names else fields

    @classmethod
    def _fill_in_preset(cls, fields: dict[str, Any]) -> dict[str, Any]:
        preset = fields.get("preset", "default")
        return {**cls.PRESETS[preset], **fields} if isinstance(preset, str) and preset in cls.PRESETS else fields

    def named_layers(self) -> Iterator[NamedLayer]:
        """Every layer that the parameters name."""
        yield from ()

    @property
    def shape(self) -> dict[str, Any] | None:
        """The parameters that two jobs must have in common to share a batch; None if they cannot share one."""
        return None


class ImageParameters(Parameters):
    """Parameters of a method that takes images."""

    @property
    def files(self) -> int:
        """Number of files for each pair of image and target."""
        return 1

    @property
    def passes(self) -> int:
        """Number of optimizations for each pair of image and target; 0 if the method does not optimize."""
        return 0

    def find_fault(self, width: int, height: int) -> tuple[str, str] | None:  # noqa: ARG002
        """Checks the parameters against the size of an image in pixels.

        Returns:
            The name of the invalid parameter and a message, or None if all parameters fit.
        """
        return None


def dump_with_old_names(document: BaseModel) -> bytes:
    """The compact JSON of a document, with the old names of renamed fields and without new fields that have a default.

    Digests of this text are stored: the version of an audit plan, the body that belongs to an idempotency key. They
    must not change when a field is renamed or added.
    """
    return TypeAdapter(dict[str, Any]).dump_json(_restore_old_names(document, document.model_dump(mode="json")))


def _restore_old_names(document: BaseModel, fields: dict[str, Any]) -> dict[str, Any]:
    old_names = {new: old for old, new in getattr(document, "RENAMED", {}).items()}
    restored = {}
    added = getattr(document, "ADDED", ())
    for name, value in fields.items():
        child = getattr(document, name)
        if name in added and child == type(document).model_fields[name].default:
            continue
        restored[old_names.get(name, name)] = (
            _restore_old_names(child, value) if isinstance(child, BaseModel) else value
        )
    return restored
