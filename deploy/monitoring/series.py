"""PromQL expressions over the metrics of the service. A metric that does not exist raises an error here."""

import re

from api.http.metrics import LIVE, OWN
from shared.state.metrics import METRICS

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def shared(name: str, labels: str = "", window: str = "") -> str:
    """Returns the expression of a metric in Redis, which all API processes report with the same value.

    Args:
        name: The name of the series.
        labels: Label matchers, such as `method=audit,status=~5..`.
        window: For a counter: the range over which the growth per second is computed.
    """
    selector = _select(name, labels)
    return _deduplicate(name, f"rate({selector}[{window}])" if window else selector)


def grew(name: str, labels: str, window: str) -> str:
    """Returns the expression of the growth of a rare counter over a window.

    `increase` ignores the first sample of a series, with which a rare counter appears. A series with fewer samples than
    the window can have is new, and its whole value is growth.
    """
    counter = _select(name, labels)
    possible = f"scalar(max(count_over_time(archetype_jobs[{window}])))"
    samples = _deduplicate(name, f"count_over_time({counter}[{window}])")
    new = f"{_deduplicate(name, counter)} and {samples} < {possible} - 1"
    return f"sum(({new}) or {_deduplicate(name, f'increase({counter}[{window}])')})"


def _deduplicate(name: str, expression: str) -> str:
    """Aggregates the reports of several processes by the labels of the metric, without the labels of the scrape."""
    labels = (*list_labels()[name], *(("le",) if name.endswith("_bucket") else ()))
    return f"max by ({', '.join(labels)}) ({expression})"


def own(name: str, labels: str = "", window: str = "5m") -> str:
    """Returns the expression of the growth per second of a counter that each API process counts for itself."""
    return f"rate({_select(name, labels)}[{window}])"


def _select(name: str, labels: str) -> str:
    if name not in list_names():
        raise KeyError(f"the service has no metric {name}")
    quoted = re.sub(r"(=~?)([^,]+)", r'\1"\2"', labels)
    return f"{name}{{{quoted}}}" if labels else name


def list_labels() -> dict[str, tuple[str, ...]]:
    """Returns the labels of the metrics in Redis, by series."""
    metrics = {**METRICS, **LIVE}.items()
    return {name + suffix: metric.labels for name, metric in metrics for suffix in SUFFIXES[metric.kind]}


def list_names() -> set[str]:
    """Returns the names of all series that `/metrics` can contain."""
    return {*list_labels(), *(name + suffix for name, kind in OWN.items() for suffix in SUFFIXES[kind])}
