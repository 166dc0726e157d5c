"""Expressions over what the service measures; a name that it does not measure is an error here, not a silent alert."""

import re

from api.metrics import LIVE, OWN
from shared.counters import METRICS

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def shared(name: str, labels: str = "", window: str = "") -> str:
    """A series that every API process answers alike: the same once, whoever is asked.

    Args:
        labels: What it must have, as `method=audit,status=~5..`.
        window: Of a counter, its growth a second over so long.
    """
    selected = _select(name, labels)
    return _once(name, f"rate({selected}[{window}])" if window else selected)


def grew(name: str, labels: str, window: str) -> str:
    """By how much a rare counter has grown over a window.

    `increase` does not see the first of a series, which brings it: what has fewer samples than there could be was not
    there at first, and has grown by all it is.
    """
    counter = _select(name, labels)
    possible = f"scalar(max(count_over_time(archetype_jobs[{window}])))"
    fresh = f"{_once(name, counter)} and {_once(name, f'count_over_time({counter}[{window}])')} < {possible} - 1"
    return f"sum(({fresh}) or {_once(name, f'increase({counter}[{window}])')})"


def _once(name: str, expression: str) -> str:
    """Of what several processes say, by the metric's own labels: scraping adds others, and not everywhere the same."""
    labels = (*list_labels()[name], *(("le",) if name.endswith("_bucket") else ()))
    return f"max by ({', '.join(labels)}) ({expression})"


def own(name: str, labels: str = "", window: str = "5m") -> str:
    """The growth of a counter that each API process has of its own."""
    return f"rate({_select(name, labels)}[{window}])"


def _select(name: str, labels: str) -> str:
    if name not in list_names():
        raise KeyError(f"the service measures no {name}")
    quoted = re.sub(r"(=~?)([^,]+)", r'\1"\2"', labels)
    return f"{name}{{{quoted}}}" if labels else name


def list_labels() -> dict[str, tuple[str, ...]]:
    """Of what all API processes answer alike, by series."""
    shared_by_all = {**METRICS, **LIVE}.items()
    return {name + suffix: metric.labels for name, metric in shared_by_all for suffix in SUFFIXES[metric.kind]}


def list_names() -> set[str]:
    """Of all series that `/metrics` may have."""
    return {*list_labels(), *(name + suffix for name, kind in OWN.items() for suffix in SUFFIXES[kind])}
