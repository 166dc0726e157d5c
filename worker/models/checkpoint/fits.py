"""Matches the names of a state dict with those of a network.

Prefixes of wrappers, such as `module.`, are removed if that makes the names fit.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from worker.models.checkpoint.state_dicts import StateDict, is_average, rank

COMPILED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts that `torch.compile` and wrappers of parallel training insert anywhere in names."""

WRAPPERS = (frozenset[str](), COMPILED, COMPILED | {"module"})
"""Parts that are ignored in the names of both sides, the fewest first."""

MAX_PREFIXES = 4

COUNTERS = "num_batches_tracked"
"""Batch norm counters, which old checkpoints lack, and which do nothing in evaluation mode."""


@dataclass(frozen=True)
class Fit:
    """A state dict with names as a network might know them.

    Attributes:
        source: The state dict of the file.
        tensors: Its tensors under their new names; those that the network does not have keep theirs.
        versions: Versions of the network's modules according to the file; None if the file has none.
        removed: Prefix that was removed from the names.
        added: Prefix that was added to the names.
        ignored: Parts that were ignored anywhere in the names.
        matched: Number of tensors that have the name and the shape of one of the network.
        wanted: Number of tensors that the network needs.
    """

    source: StateDict
    tensors: dict[str, Any]
    versions: dict[str, Any] | None
    removed: str
    added: str
    ignored: frozenset[str]
    matched: int
    wanted: int

    @property
    def is_complete(self) -> bool:
        """Whether every tensor of the network is there with the right shape."""
        return self.matched == self.wanted

    @cached_property
    def location(self) -> str:
        """Where the weights are in the file: the keys of the state dict, and the prefix of their names."""
        return ".".join(part for part in (self.source.path, self.removed.rstrip(".")) if part)

    def find_used(self, own: Mapping[str, Any]) -> set[int]:
        """Returns which tensors of the file the network takes, to compare two fits."""
        return {id(value) for name, value in self.tensors.items() if name in own}

    @property
    def is_average(self) -> bool:
        """Whether the file says that the weights are averaged (EMA)."""
        return is_average(self.location)


def find_fits(network: nn.Module, state_dicts: list[StateDict]) -> list[Fit]:
    """Returns the ways to read state dicts as that of a network, the best first.

    A way in which every tensor fits is better than another one; then raw weights are better than averaged ones, and
    unchanged names better than changed ones.
    """
    own = network.state_dict()
    modules = [name for name, _ in network.named_modules(remove_duplicate=False)]
    fits = [fit for each in state_dicts for fit in _match(each, own, modules)]
    return sorted(fits, key=_order)


def _order(fit: Fit) -> tuple[Any, ...]:
    changes = bool(fit.removed) + bool(fit.added) + len(fit.ignored)
    # A prefix such as `model_ema.` in a state dict says what a key of the file says.
    place = fit.is_average, rank(fit.source.path), changes, rank(fit.removed.rstrip(".")), len(fit.removed)
    return not fit.is_complete, 0 if fit.is_complete else -fit.matched, fit.source.joined, place


def _match(source: StateDict, own: Mapping[str, Any], modules: list[str]) -> Iterator[Fit]:
    for ignored in WRAPPERS:
        if ignored and not any(part in ignored for name in (*source.tensors, *own) for part in name.split(".")):
            continue  # as without
        own_names = {_drop(name, ignored): name for name in own}
        if len(own_names) == len(own):
            names = _Names(source, own, own_names, ignored, modules)
            yield from (fit for added in _list_common_prefixes(list(own_names)) for fit in names.match(added))


@dataclass(frozen=True)
class _Names:
    """The names of both sides without the ignored parts."""

    source: StateDict
    own: Mapping[str, Any]
    own_names: Mapping[str, str]
    ignored: frozenset[str]
    modules: list[str]

    @cached_property
    def given(self) -> dict[str, str]:
        return {_drop(name, self.ignored): name for name in self.source.tensors}

    def match(self, added: str) -> Iterator[Fit]:
        """Yields the fits with the most frequent prefixes, if `added` is added to the names of the file."""
        counts: Counter[str] = Counter()
        for name, original in self.given.items():
            value = self.source.tensors[original]
            for removed in _list_prefixes(name):
                own_name = self.own_names.get(added + name.removeprefix(removed))
                if own_name is not None:
                    counts[removed] += not own_name.endswith(COUNTERS) and _has_shape(value, self.own[own_name])
        if not added:
            counts[""] += 0  # the names as they are: the network may know how to rename them
        wanted = sum(not name.endswith(COUNTERS) for name in self.own)
        for removed, matched in counts.most_common(MAX_PREFIXES):
            yield self._rename(removed, added, matched, wanted)

    def _rename(self, removed: str, added: str, matched: int, wanted: int) -> Fit:
        tensors = {original: self.source.tensors[original] for original in self.source.tensors}
        renamed: dict[str, Any] = {}
        for name, original in self.given.items():
            if name.startswith(removed):
                new = added + name.removeprefix(removed)
                renamed[self.own_names.get(new, new)] = tensors.pop(original)
        rename = self._rename_module(removed, added)
        return Fit(
            source=self.source,
            tensors=renamed | {name: value for name, value in tensors.items() if name not in renamed},
            versions=rename(self.source.versions) if self.source.versions is not None else None,
            removed=removed,
            added=added,
            ignored=self.ignored,
            matched=matched,
            wanted=wanted,
        )

    def _rename_module(self, removed: str, added: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        def rename(versions: Mapping[str, Any]) -> dict[str, Any]:
            given = {f"{_drop(str(name), self.ignored)}.".lstrip("."): value for name, value in versions.items()}
            found = {added + name.removeprefix(removed): v for name, v in given.items() if name.startswith(removed)}
            keys = {module: f"{_drop(module, self.ignored)}.".lstrip(".") for module in self.modules}
            return {module: found[key] for module, key in keys.items() if key in found}

        return rename


def _drop(name: str, ignored: frozenset[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in ignored) if ignored else name


def _list_prefixes(name: str) -> list[str]:
    """Returns the prefixes of a name that end with a dot, and the empty one: `a.b.weight` has ``, `a.` and `a.b.`."""
    ends = [position + 1 for position, letter in enumerate(name) if letter == "."]
    return ["", *(name[:end] for end in ends)]


def _list_common_prefixes(names: list[str]) -> list[str]:
    """Returns the prefixes that all names have; the first one is empty."""
    shortest = min(names, key=len, default="")
    return [prefix for prefix in _list_prefixes(shortest) if all(name.startswith(prefix) for name in names)]


def _has_shape(value: Any, own: Any) -> bool:
    if not isinstance(own, torch.Tensor) or not isinstance(value, torch.Tensor):
        return not isinstance(own, torch.Tensor)
    # `load_state_dict` takes one value for a number, as PyTorch 0.3 saved it.
    return value.shape == own.shape or (own.ndim == 0 and value.shape == (1,))
