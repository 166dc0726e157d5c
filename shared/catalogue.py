"""The catalogue: which releases of which networks there are, as the operator wrote them down."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from shared.errors import MOST_ERRORS, FieldError, UnknownModel, UnknownTarget, nearest

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

Side = Annotated[int, Field(ge=8, le=2048)]

LOADING = {
    "weights", "weights_backbone", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path",
    "cache_dir",
}  # fmt: skip
"""Arguments by which torchvision's and timm's architectures would fetch or read weights past all checks."""


class Preprocessing(BaseModel):
    """How a picture becomes an input: what the network was trained with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: tuple[Side, Side] = Field(default=(224, 224), description="Height and width in pixels.")
    resize: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="The shorter side before the centre crop; without it, exactly what the crop needs.",
    )
    fit: Literal["crop", "stretch"] = Field(
        default="crop", description="Crop the centre, or stretch the whole picture to the size."
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = Field(
        default="bilinear", description="How pictures are brought to the size."
    )
    channels: int = Field(default=3, ge=1, le=16, description="Of the input.")
    range: tuple[float, float] = Field(
        default=(0.0, 1.0), description="What black and white are before mean and std: (0, 255) for some networks."
    )
    mean: list[float] = Field(
        default=IMAGENET_MEAN, description="Per channel, in units of the range; none: the input is not normalised."
    )
    std: list[Annotated[float, Field(gt=0)]] = Field(default=IMAGENET_STD, description="Likewise; none without mean.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Channels are counted where they are not given, and a network without mean and std has those of no effect."""
        if not isinstance(given, dict):
            return given
        mean, std = given.get("mean"), given.get("std")
        channels = given.get("channels", len(mean) if isinstance(mean, list) and mean else 3)
        if mean == [] and std in (None, []) and isinstance(channels, int) and 1 <= channels <= 16:
            return {**given, "channels": channels, "mean": [0.0] * channels, "std": [1.0] * channels}
        return {**given, "channels": channels}

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError("mean and std need a value for every channel of the input, or mean = [] for none")
        if self.range[0] >= self.range[1]:
            raise ValueError("range goes from black to white")
        return self

    @property
    def levels_mean(self) -> list[float]:
        """The mean of pictures in 0..1."""
        low, high = self.range
        return [(value - low) / (high - low) for value in self.mean]

    @property
    def levels_std(self) -> list[float]:
        """The standard deviation of pictures in 0..1."""
        return [value / (self.range[1] - self.range[0]) for value in self.std]


class Release(BaseModel):
    """One release of one network. It never changes: a change is a new release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    release: Name = "1"
    architecture: str = Field(
        pattern=r"^((builtin|torchvision|timm|factory):[A-Za-z0-9_.-]+|program)$",
        description="`torchvision:NAME`, `timm:NAME`, `factory:NAME` for one that the worker's settings name, or "
        "`program`: the weights are a program that was exported as `.pt2`.",
    )
    arguments: dict[str, Any] = Field(default={}, description="Keyword arguments of the architecture.")
    weights: Path | None = Field(
        default=None, description="A safetensors file or a state dict, relative to the catalogue."
    )
    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Where in the bucket the weights lie, instead of a file.",
    )
    published: bool | str = Field(
        default=False, description="True: the library's own weights, downloaded once; or, of torchvision's, which."
    )
    sha256: Digest | None = Field(default=None, description="Of the weights; checked when given.")
    classes: list[str] = Field(min_length=1, description="Class names in the order of the scores.")
    preprocessing: Preprocessing = Preprocessing()
    score_layer: str | None = Field(
        default=None, description="The layer that gives the class scores, where they are not found by themselves."
    )
    pictures: Path | None = Field(
        default=None, description="A folder of pictures like those it was trained on, relative to the catalogue."
    )

    tenant: str | None = Field(default=None, description="Who alone may use it; without one, everybody.")

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if (self.weights is not None) + (self.key is not None) + bool(self.published) > 1:
            raise ValueError("give weights, key or published, one of them")
        if self.published and not self.architecture.startswith(("torchvision:", "timm:")):
            raise ValueError("only torchvision's and timm's architectures have published weights")
        return self

    @model_validator(mode="after")
    def _check_arguments(self) -> Self:
        library = self.architecture.startswith(("torchvision:", "timm:"))
        loading = sorted(LOADING & set(self.arguments)) if library else []
        if loading:
            raise ValueError(f"arguments must not load weights ({', '.join(loading)}); give weights, key or published")
        return self

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


class Registered(Protocol):
    """Knows the releases that were registered."""

    def __call__(self, *, fresh: bool) -> Sequence[Release]:
        """All of them, oldest first; `fresh` where one was asked for that was not among them."""


class Catalogue:
    """Releases by reference. The last release of a name is its newest.

    Args:
        releases: Those that the operator wrote down.
        registered: Gives those that were registered since, oldest first.
    """

    def __init__(self, releases: Iterable[Release], registered: Registered | None = None) -> None:
        self._written = tuple(releases)
        self._registered = registered
        self._tenant: str | None = None
        twice = [reference for reference, count in Counter(map(_refer, self._written)).items() if count > 1]
        if twice:
            raise ValueError(f"the catalogue has {twice[0]} twice; give the second another release")

    def of(self, tenant: str) -> "Catalogue":
        """The same as this tenant sees it: what is everybody's, and its own."""
        seen = copy(self)
        seen._tenant = tenant
        return seen

    def __iter__(self) -> Iterator[Release]:
        return (release for releases in self._by_name().values() for release in releases.values())

    @property
    def names(self) -> list[str]:
        """Model names in the order of the catalogue."""
        return list(self._by_name())

    def releases(self, name: str) -> list[Release]:
        """Every release of a model, oldest first; none where the name is unknown."""
        known = self._by_name().get(name) or self._by_name(fresh=True).get(name, {})
        return list(known.values())

    def _by_name(self, *, fresh: bool = False) -> dict[str, dict[str, Release]]:
        names: dict[str, dict[str, Release]] = {}
        for release in (*self._written, *(self._registered(fresh=fresh) if self._registered else ())):
            if self._tenant is None or release.tenant in (None, self._tenant):
                names.setdefault(release.name, {}).setdefault(release.release, release)
        return names

    def find(self, reference: str, *, field: str = "/model") -> Release:
        """The release that `name` (its newest) or `name@release` means.

        Raises:
            UnknownModel: There is none; the nearest names are given.
        """
        name, _, wanted = reference.partition("@")
        known = self._by_name()
        if not _has(known, name, wanted):
            known = self._by_name(fresh=True)
        releases = known.get(name)
        if releases is None:
            near = nearest(name, known) or list(known)[:20]
            raise _unknown_model(f"there is no model {name!r}", field, reference, near)
        if not wanted:
            return list(releases.values())[-1]
        if wanted not in releases:
            raise _unknown_model(
                f"model {name!r} has no release {wanted!r}", field, reference, [f"{name}@{known}" for known in releases]
            )
        return releases[wanted]


def _has(known: dict[str, dict[str, Release]], name: str, release: str) -> bool:
    return name in known and (not release or release in known[name])


def _refer(release: Release) -> str:
    return release.reference


def _unknown_model(detail: str, field: str, given: str, allowed: list[str]) -> UnknownModel:
    error = FieldError(field=field, detail=detail, given=given, allowed=allowed)
    return UnknownModel(f"{detail}; GET /v1/models lists what there is, for example {', '.join(allowed[:5])}", error)


def load_catalogue(path: Path | None, registered: Registered | None = None) -> Catalogue:
    """The built-in releases, those of the operator's file, and those that were registered since.

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
    return Catalogue(releases, registered)


def _read(text: str, folder: Path, *, source: str) -> list[Release]:
    try:
        entries = tomllib.loads(text).get("model", [])
        return [_read_entry(entry, folder) for entry in entries]
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"{source} is not a valid catalogue: {error}") from error


def _read_entry(entry: dict[str, Any], folder: Path) -> Release:
    classes = entry.get("classes")
    if isinstance(classes, str):
        entry = {**entry, "classes": read_classes(classes) or _read_lines((folder / classes).read_text())}
    entry = entry | {field: folder / str(entry[field]) for field in ("weights", "pictures") if field in entry}
    return Release.model_validate(entry)


def read_classes(named: str) -> list[str] | None:
    """The class names of a list that comes with the service, `imagenet` or `cifar10`; None where there is none."""
    known = resources.files("shared") / "classes" / f"{named}.txt"
    return _read_lines(known.read_text()) if re.fullmatch(r"\w+", named) and known.is_file() else None


def _read_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
