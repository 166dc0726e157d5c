"""The catalogue: which releases of which networks there are, as the operator wrote them down."""

import tomllib
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from shared.errors import MOST_ERRORS, FieldError, UnknownModel, UnknownTarget, nearest

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Preprocessing(BaseModel):
    """How a picture becomes an input: what the network was trained with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[Annotated[int, Field(ge=8, le=2048)], Annotated[int, Field(ge=8, le=2048)]] = Field(
        default=(224, 224), description="Height and width in pixels."
    )
    resize: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="The shorter side before the centre crop; without it, exactly what the crop needs.",
    )
    fit: Literal["crop", "stretch"] = Field(
        default="crop", description="Crop the centre, or stretch the whole picture to the size."
    )
    mean: list[float] = Field(default=[0.485, 0.456, 0.406], description="Per channel, of values in 0..1.")
    std: list[Annotated[float, Field(gt=0)]] = Field(default=[0.229, 0.224, 0.225], description="Per channel.")

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        if not 1 <= len(self.mean) <= 16 or len(self.std) != len(self.mean):
            raise ValueError("mean and std need a value for every channel of the input, 1 to 16 of them")
        return self


class Release(BaseModel):
    """One release of one network. It never changes: a change is a new release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    release: Name = "1"
    architecture: str = Field(
        pattern=r"^(builtin|torchvision|timm|factory):[A-Za-z0-9_.-]+$",
        description="`torchvision:NAME`, `timm:NAME`, or `factory:NAME` for one that the worker's settings name.",
    )
    arguments: dict[str, Any] = Field(default={}, description="Keyword arguments of the architecture.")
    weights: Path | None = Field(
        default=None, description="A safetensors file or a state dict, relative to the catalogue."
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Of the weights; checked when given."
    )
    classes: list[str] = Field(min_length=1, description="Class names in the order of the scores.")
    preprocessing: Preprocessing = Preprocessing()
    score_layer: str | None = Field(
        default=None, description="The layer that gives the class scores, where they are not found by themselves."
    )
    pictures: Path | None = Field(
        default=None, description="A folder of pictures like those it was trained on, relative to the catalogue."
    )

    @property
    def reference(self) -> str:
        """`name@release`."""
        return f"{self.name}@{self.release}"

    @cached_property
    def _indices(self) -> dict[str, list[int]]:
        indices: dict[str, list[int]] = {}
        for index, name in enumerate(self.classes):
            indices.setdefault(name.lower(), []).append(index)
        return indices

    def resolve_targets(self, targets: list[int | str] | Literal["all"], *, field: str = "/targets") -> list[int]:
        """The class indices that `targets` names, in their order, each once.

        Raises:
            UnknownTarget: One or more of them name no class, or more than one; such targets are listed.
        """
        if targets == "all":
            return list(range(len(self.classes)))
        errors: list[FieldError] = []
        indices: dict[int, None] = {}
        for position, target in enumerate(targets):
            found = self._resolve(target, f"{field}/{position}")
            if isinstance(found, FieldError):
                errors.append(found)
                if len(errors) == MOST_ERRORS:
                    break
            else:
                indices[found] = None
        if errors:
            raise UnknownTarget(f"{errors[0].detail}; GET /v1/models/{self.name} lists its classes", *errors)
        return list(indices)

    def _resolve(self, target: int | str, field: str) -> int | FieldError:
        count = len(self.classes)
        if isinstance(target, int) or target.isdecimal():
            index = int(target)
            if 0 <= index < count:
                return index
            detail = f"class {index} is not one of the {count} of {self.reference}"
            return FieldError(field=field, detail=detail, given=target, allowed=f"0 to {count - 1}")
        matches = self._indices.get(target.lower(), [])
        if len(matches) == 1:
            return matches[0]
        if matches:
            detail = f"{target!r} is the name of {len(matches)} classes of {self.reference}: give one's index"
            return FieldError(field=field, detail=detail, given=target, allowed=matches)
        close = nearest(target, self.classes)
        hint = f": did you mean {', '.join(map(repr, close))}?" if close else ""
        return FieldError(
            field=field, detail=f"{target!r} is not a class of {self.reference}{hint}", given=target, allowed=close
        )


class Catalogue:
    """Releases by reference. The last release of a name is its newest."""

    def __init__(self, releases: Iterable[Release]) -> None:
        self._names: dict[str, dict[str, Release]] = {}
        for release in releases:
            others = self._names.setdefault(release.name, {})
            if release.release in others:
                raise ValueError(f"the catalogue has {release.reference} twice; give the second another release")
            others[release.release] = release

    def __iter__(self) -> Iterator[Release]:
        return (release for releases in self._names.values() for release in releases.values())

    @property
    def names(self) -> list[str]:
        """Model names in the order of the catalogue."""
        return list(self._names)

    def releases(self, name: str) -> list[Release]:
        """Every release of a model, oldest first; none where the name is unknown."""
        return list(self._names.get(name, {}).values())

    def find(self, reference: str, *, field: str = "/model") -> Release:
        """The release that `name` (its newest) or `name@release` means.

        Raises:
            UnknownModel: There is none; the nearest names are given.
        """
        name, _, wanted = reference.partition("@")
        releases = self._names.get(name)
        if releases is None:
            raise _unknown_model(
                f"there is no model {name!r}", field, reference, nearest(name, self._names) or self.names[:20]
            )
        if not wanted:
            return list(releases.values())[-1]
        if wanted not in releases:
            raise _unknown_model(
                f"model {name!r} has no release {wanted!r}", field, reference, [f"{name}@{known}" for known in releases]
            )
        return releases[wanted]


def _unknown_model(detail: str, field: str, given: str, allowed: list[str]) -> UnknownModel:
    error = FieldError(field=field, detail=detail, given=given, allowed=allowed)
    return UnknownModel(f"{detail}; GET /v1/models lists what there is, for example {', '.join(allowed[:5])}", error)


def load_catalogue(path: Path | None) -> Catalogue:
    """The built-in releases, and those of the operator's file.

    Raises:
        ValueError: The file is not as it should be; the message says where.
    """
    builtin = resources.files("shared") / "builtin.toml"
    releases = _read(builtin.read_text(), Path(), source="built-in catalogue")
    if path is not None:
        try:
            releases += _read(path.read_text(), path.parent, source=str(path))
        except OSError as error:
            raise ValueError(
                f"the catalogue {path} cannot be read ({error.strerror}); check ARCHETYPE_CATALOGUE"
            ) from error
    return Catalogue(releases)


def _read(text: str, folder: Path, *, source: str) -> list[Release]:
    try:
        entries = tomllib.loads(text).get("model", [])
        return [_read_entry(entry, folder) for entry in entries]
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"{source} is not a valid catalogue: {error}") from error


def _read_entry(entry: dict[str, Any], folder: Path) -> Release:
    classes = entry.get("classes")
    if isinstance(classes, str):
        entry = {**entry, "classes": _read_classes(classes, folder)}
    entry = entry | {field: folder / str(entry[field]) for field in ("weights", "pictures") if field in entry}
    return Release.model_validate(entry)


def _read_classes(named: str, folder: Path) -> list[str]:
    """Class names, a line each: a list that comes with the service (`imagenet`, `cifar10`), or a file."""
    known = resources.files("shared") / "classes" / f"{named}.txt"
    text = known.read_text() if known.is_file() else (folder / named).read_text()
    return [line.strip() for line in text.splitlines() if line.strip()]
