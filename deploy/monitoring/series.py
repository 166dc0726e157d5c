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
    return f"max without (instance, pod) ({f'rate({selected}[{window}])' if window else selected})"


def grew(name: str, labels: str, window: str) -> str:
    """By how much a rare counter has grown over a window: `rate` does not see the first, which brings the series."""
    now = f"max without (instance, pod) ({_select(name, labels)})"
    then = f"max without (instance, pod) ({_select(name, labels)} offset {window})"
    return f"(sum({now}) - (sum({then}) or vector(0)))"


def own(name: str, labels: str = "", window: str = "5m") -> str:
    """The growth of a counter that each API process has of its own."""
    return f"rate({_select(name, labels)}[{window}])"


def _select(name: str, labels: str) -> str:
    if name not in list_names():
        raise KeyError(f"the service measures no {name}")
    quoted = re.sub(r"(=~?)([^,]+)", r'\1"\2"', labels)
    return f"{name}{{{quoted}}}" if labels else name


def list_names() -> set[str]:
    """Of all series that `/metrics` may have."""
    kinds = {name: metric.kind for name, metric in {**METRICS, **LIVE}.items()} | OWN
    return {name + suffix for name, kind in kinds.items() for suffix in SUFFIXES[kind]}
