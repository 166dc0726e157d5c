"""Loads weights files into networks, as PyTorch's `load_state_dict` does."""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from shared.catalogue.release import Release
from worker.models.architectures import Convert, unloadable
from worker.models.checkpoint.fits import COUNTERS, Fit, find_fits
from worker.models.checkpoint.formats import SAVE_AGAIN, TRUNCATED, Format, UnreadableWeights, recognize
from worker.models.checkpoint.hints import explain_misfit, list_names
from worker.models.checkpoint.notes import Loaded, note_changes, note_choice, note_skipped
from worker.models.checkpoint.pickles import read_pickle
from worker.models.checkpoint.rehearsal import rehearse
from worker.models.checkpoint.state_dicts import find_state_dicts
from worker.models.checkpoint.values import check_kinds, check_values, is_finite

MAX_ATTEMPTS = 4
"""Ways to read the names of a file that are tried if none fits by names and shapes alone."""

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""Names in weights of DenseNet that torchvision published before PyTorch 0.4 forbade dots in names of modules."""


@dataclass(frozen=True)
class WeightsFile:
    """The content of a weights file.

    Attributes:
        content: Dictionaries, lists and tensors.
        skipped: Names of the classes whose objects were not read.
    """

    content: Any
    skipped: tuple[str, ...] = ()


def read_weights(path: Path, release: Release) -> WeightsFile:
    """Reads a safetensors file, or a file that `torch.save` wrote; of the latter only tensors and plain values.

    Raises:
        UnloadableModel: The file is neither, damaged, or a pickled object other than a dictionary.
    """
    try:
        if recognize(path) is Format.SAFETENSORS:
            return WeightsFile(_load_safetensors(path))
        rehearse(path)
        content, skipped = read_pickle(path)
    except UnreadableWeights as error:
        raise unloadable(release, f"the weights file {path.name} {error}") from error
    except OSError as error:
        raise unloadable(release, f"the weights {path.name} cannot be read ({error.strerror})") from error
    if not find_state_dicts(content):
        raise unloadable(release, f"the weights file {path.name} {_describe_content(content, skipped)}")
    return WeightsFile(content, tuple(skipped))


def _load_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises exceptions of its own
        raise UnreadableWeights(f"{TRUNCATED} ({str(error).splitlines()[0]})") from error


def _describe_content(content: Any, skipped: list[str]) -> str:
    name = type(content).__name__
    if name in skipped:
        return f"contains no state dict, but a whole pickled object, `{name}`, which is code; {SAVE_AGAIN}"
    names = ", ".join(f"`{each}`" for each in skipped[:3])
    found = f"objects of {names}" if names else "plain values"
    found = found if isinstance(content, Mapping) else f"an object of `{name}`"
    return f"contains no state dict, but {found}; {SAVE_AGAIN}"


def fill_weights(
    network: nn.Module, weights: WeightsFile, release: Release, convert: Convert | None = None
) -> list[str]:
    """Loads weights into a network. Only batch norm counters, which old checkpoints lack, may be missing.

    Args:
        network: The network.
        weights: The content of the file.
        release: The release, which may name one of several state dicts.
        convert: The library's own conversion of old weights, if there is one; it may raise any exception.

    Returns:
        What was noticed, in sentences.

    Raises:
        UnloadableModel: Names or shapes do not fit, or values are not weights; the message lists them.
    """
    fits = _choose(find_fits(network, find_state_dicts(weights.content)), release)
    usual = {name for name, value in network.named_buffers() if not is_finite(value)}
    loaded = _load_first(network, fits, release, convert)
    check_values(network, usual, release)
    return [
        *note_choice(loaded.fit, fits, network, release),
        *note_changes(loaded, network),
        *note_skipped(weights.skipped),
    ]


def _choose(fits: list[Fit], release: Release) -> list[Fit]:
    """Returns the fits that the release allows; raises `UnloadableModel` if there is no such state dict."""
    wanted = release.state_dict
    if wanted is None:
        return fits
    chosen = [fit for fit in fits if wanted in (fit.source.path, fit.location, fit.removed.rstrip("."))]
    if not chosen:
        names = list_names(sorted({fit.location for fit in fits if fit.location}))
        raise unloadable(release, f"the weights file has no state dict {wanted!r} (it has {names or 'only one'})")
    return chosen


def _load_first(network: nn.Module, fits: list[Fit], release: Release, convert: Convert | None) -> Loaded:
    """Loads the first fit that `load_state_dict` accepts."""
    own, problems = network.state_dict(), list[str]()
    for fit in fits[:1] if fits[0].is_complete else fits[:MAX_ATTEMPTS]:
        check_kinds(fit, own, release)
        for reading in _list_readings(fit, own, convert):
            extra = _try(network, reading, problems)
            if extra is not None:
                return Loaded(fit, extra, reading.note)
    details = explain_misfit(fits[0], own, release) or problems[0]
    raise unloadable(release, f"the weights do not fit {release.architecture}: {details}")


@dataclass(frozen=True)
class _Reading:
    tensors: Mapping[str, Any]
    versions: Mapping[str, Any] | None
    note: str | None = None


def _list_readings(fit: Fit, own: Mapping[str, Any], convert: Convert | None) -> Iterator[_Reading]:
    """Yields the tensors of a fit with versions of the modules, as networks need them that changed over time."""
    current = getattr(own, "_metadata", None)
    yield _Reading(fit.tensors, fit.versions)
    yield _Reading(fit.tensors, current)  # the file lost its versions, as in safetensors: they may be the current ones
    if fit.is_complete:
        return
    yield _Reading({OLD_DENSENET.sub(r"\1\2", name): value for name, value in fit.tensors.items()}, current)
    if convert is not None:
        try:
            converted = convert(dict(fit.tensors))
        except Exception:  # it is made for other weights
            return
        yield _Reading(converted, None, "timm converted the weights, which have names or shapes of an older version.")


def _try(network: nn.Module, reading: _Reading, problems: list[str]) -> list[str] | None:
    """Loads tensors; returns the names that the network does not have, or None if the weights do not fit."""
    state = OrderedDict(reading.tensors)
    state._metadata = reading.versions  # type: ignore[attr-defined]
    try:
        result = network.load_state_dict(state, strict=False)
    except Exception as error:  # the network may run any code
        problems.append(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
        return None
    missing = [name for name in result.missing_keys if not name.endswith(COUNTERS)]
    return None if missing else list(result.unexpected_keys)
