"""Finds the state dicts in the content of a weights file: at its top, or under keys such as `model_ema`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

KNOWN_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "student", "online")
"""Keys under which training scripts save the weights, the usual ones first."""

AVERAGE = re.compile(r"(?<![a-z])(ema|swa|averaged?|polyak|shadow)(?![a-z])|ema$", re.IGNORECASE)
"""Keys of averaged weights: `model_ema`, `ema_state_dict`, `state_dict_ema`, `swa_model`, `modelEMA`."""

MAX_DEPTH = 5
MAX_STATE_DICTS = 50
MAX_ENTRIES = 2_000_000
"""Number of entries in which state dicts are searched: a file may name the same dictionary any number of times."""


@dataclass(frozen=True)
class StateDict:
    """The named tensors of one dictionary in a file.

    Attributes:
        path: Its keys in the file, with dots between them; empty if it is the file's whole content.
        tensors: Its tensors, and other values that a module saved with `get_extra_state`.
        versions: Versions of the modules (`_metadata`), by the modules' names; None if the file has none.
        joined: Whether its names were joined from nested dictionaries.
    """

    path: str
    tensors: Mapping[str, Any]
    versions: Mapping[str, Any] | None = None
    joined: bool = False


def find_state_dicts(content: Any) -> list[StateDict]:
    """Returns the state dicts in the content of a file: raw weights before averaged ones, usual keys before others."""
    found = list(islice(_walk(content, (), _Budget()), MAX_STATE_DICTS))
    return sorted(found, key=lambda each: (each.joined, rank(each.path)))


class _Budget:
    """Counts the entries that were searched."""

    def __init__(self) -> None:
        self._left = MAX_ENTRIES

    def spend(self, entries: int) -> bool:
        """Counts entries; returns whether they are within the limit."""
        self._left -= entries
        return self._left >= 0


def is_average(location: str) -> bool:
    """Returns whether a place in a file, such as `ema.state_dict`, is that of averaged weights."""
    return any(AVERAGE.search(key) for key in location.split("."))


def rank(location: str) -> tuple[bool, int]:
    """Returns the order in which places of a file are tried; lower is better."""
    keys = location.split(".")
    known = [KNOWN_KEYS.index(key) for key in keys if key in KNOWN_KEYS]
    return is_average(location), min(known, default=len(KNOWN_KEYS) if location else -1)


def _walk(content: Any, path: tuple[str, ...], budget: "_Budget") -> Iterator[StateDict]:
    if not isinstance(content, Mapping) or len(path) > MAX_DEPTH or (path and path[-1].startswith("optim")):
        return
    if not budget.spend(len(content) + sum(len(each) for each in content.values() if isinstance(each, Mapping))):
        return
    here = ".".join(path)
    tensors = {name: value for name, value in content.items() if _is_entry(name, value)}
    if any(isinstance(value, torch.Tensor) for value in tensors.values()):
        versions = getattr(content, "_metadata", None)
        yield StateDict(here, tensors, versions if isinstance(versions, Mapping) else None)
    nested = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Mapping)}
    for name, value in nested.items():
        yield from _walk(value, (*path, name), budget)
    joined = _join(nested)
    if joined:
        yield StateDict(here, {**tensors, **joined}, joined=True)


def _is_entry(name: Any, value: Any) -> bool:
    return isinstance(name, str) and (isinstance(value, torch.Tensor) or name.endswith("_extra_state"))


def _join(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tensors of nested dictionaries under joined names, for files such as `{"backbone": …, "head": …}`."""
    joined: dict[str, Any] = {}
    for name, value in nested.items():
        if not name.startswith("optim"):
            joined |= {f"{name}.{each}": tensor for each, tensor in value.items() if _is_entry(each, tensor)}
    return joined
