"""The catalogue of models: built-in releases, those in the operator's file, and registered ones."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from archetype.contract.class_names import check_names, read_class_file
from archetype.contract.problem import FieldError, nearest
from shared.catalogue.release import Release
from shared.errors import UnknownModel


class ReleaseSource(Protocol):
    """Provides the registered releases."""

    def __call__(self, *, fresh: bool) -> Sequence[Release]:
        """All registered releases, oldest first.

        Args:
            fresh: Read them again, because a release is missing in the earlier list.
        """


class Catalogue:
    """Releases by reference. The last release of a name is its newest.

    Args:
        releases: Built-in releases and those in the operator's file.
        registered: Provides the registered releases.

    Raises:
        ValueError: Two releases have the same reference.
    """

    def __init__(self, releases: Iterable[Release], registered: ReleaseSource | None = None) -> None:
        self._fixed = tuple(releases)
        self._registered = registered
        self._tenant: str | None = None
        counts = Counter(release.reference for release in self._fixed)
        repeated = [reference for reference, count in counts.items() if count > 1]
        if repeated:
            raise ValueError(f"the catalogue has {repeated[0]} twice; give the second entry another release")

    def of(self, tenant: str) -> "Catalogue":
        """The catalogue that a tenant sees: releases of all tenants and its own."""
        view = copy(self)
        view._tenant = tenant
        return view

    def __iter__(self) -> Iterator[Release]:
        return self._list_visible()

    @property
    def configured(self) -> tuple[Release, ...]:
        """The built-in releases and those in the operator's file, for all tenants."""
        return self._fixed

    @property
    def names(self) -> list[str]:
        """Model names in the order of the catalogue."""
        return list(self._by_name())

    @property
    def models(self) -> list[list[Release]]:
        """The releases of each model, oldest first, in the order of the catalogue."""
        return [list(releases.values()) for releases in self._by_name().values()]

    def releases(self, name: str) -> list[Release]:
        """All releases of a model, oldest first; an empty list if the name is unknown."""
        releases = self._by_name().get(name) or self._by_name(fresh=True).get(name, {})
        return list(releases.values())

    def _by_name(self, *, fresh: bool = False) -> dict[str, dict[str, Release]]:
        names: dict[str, dict[str, Release]] = {}
        for release in self._list_visible(fresh=fresh):
            releases = names.setdefault(release.name, {})
            # A release of the tenant stays what it is if the operator gives another one the same name later.
            if release.release not in releases or (release.namespace and not releases[release.release].namespace):
                releases[release.release] = release
        return names

    def _list_visible(self, *, fresh: bool = False) -> Iterator[Release]:
        for release in (*self._fixed, *(self._registered(fresh=fresh) if self._registered else ())):
            if self._tenant is None or release.tenant in (None, self._tenant):
                yield release

    def find(self, reference: str, *, field: str = "/model") -> Release:
        """The release that `name` (the newest release) or `name@release` refers to.

        Args:
            reference: `name` or `name@release`.
            field: JSON pointer to the reference in the request, for errors.

        Raises:
            UnknownModel: There is no such model or release; the error lists the nearest names.
        """
        name, _, version = reference.partition("@")
        models = self._by_name()
        if name not in models or (version and version not in models[name]):
            models = self._by_name(fresh=True)
        releases = models.get(name)
        if releases is None:
            near = nearest(name, models) or list(models)[:20]
            raise _unknown_model(f"there is no model {name!r}", field, reference, near)
        if not version:
            return list(releases.values())[-1]
        if version not in releases:
            detail = f"model {name!r} has no release {version!r}"
            raise _unknown_model(detail, field, reference, [f"{name}@{other}" for other in releases])
        return releases[version]


def _unknown_model(detail: str, field: str, given: str, allowed: list[str]) -> UnknownModel:
    error = FieldError(field=field, detail=detail, given=given, allowed=allowed)
    return UnknownModel(f"{detail}; GET /v1/models lists all models, for example {', '.join(allowed[:5])}", error)


def load_catalogue(path: Path | None, registered: ReleaseSource | None = None) -> Catalogue:
    """Loads the catalogue.

    Args:
        path: The operator's `models.toml`, if there is one.
        registered: Provides the registered releases.

    Raises:
        ValueError: The file cannot be read or is invalid; the message says where.
    """
    builtin = resources.files("shared.catalogue") / "builtin.toml"
    releases = _read(builtin.read_bytes(), Path(), source="built-in catalogue")
    if path is not None:
        try:
            releases += _read(path.read_bytes(), path.parent, source=str(path))
        except OSError as error:
            place = f"the catalogue {path}" if error.filename in (None, str(path)) else f"{error.filename} of {path}"
            detail = f"{place} cannot be read ({error.strerror}); check ARCHETYPE_CATALOGUE"
            raise ValueError(detail) from error
    return Catalogue(releases, registered)


def _read(data: bytes, folder: Path, *, source: str) -> list[Release]:
    try:
        entries = tomllib.loads(data.decode("utf-8-sig")).get("model", [])
        return [_read_entry(entry, folder) for entry in entries]
    except ValueError as error:  # TOML, UTF-8, a field, or a file of class names
        raise ValueError(f"{source} is not a valid catalogue: {error}") from error


def _read_entry(entry: dict[str, Any], folder: Path) -> Release:
    classes = entry.get("classes")
    if isinstance(classes, str):
        names = read_classes(classes) or read_class_file((folder / classes).read_bytes(), classes)
        entry = {**entry, "classes": names}
    elif isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        entry = {**entry, "classes": check_names(classes)}
    entry = entry | {field: folder / str(entry[field]) for field in ("weights", "pictures") if field in entry}
    return Release.model_validate(entry)


def read_classes(list_name: str) -> list[str] | None:
    """The class names of a list that is part of the service: `imagenet` or `cifar10`; None for other names."""
    path = resources.files("shared.catalogue") / "classes" / f"{list_name}.txt"
    is_known = re.fullmatch(r"\w+", list_name) and path.is_file()
    return read_class_file(path.read_bytes(), path.name) if is_known else None
