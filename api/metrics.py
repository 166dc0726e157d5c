"""What the API counts, for Prometheus."""

import time
from collections import Counter
from collections.abc import Iterator

import prometheus_client
from flask import Flask, Response, g, request
from prometheus_client import REGISTRY, Histogram, generate_latest
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from shared.backlog import read_backlog
from shared.counters import METRICS, WAITS, Labels, Metric, read_counts
from shared.jobs import State
from shared.presence import Presence
from shared.records import Records

REQUESTS = prometheus_client.Counter(
    "archetype_http_requests", "Requests by route, method and status.", ("route", "method", "status")
)
SECONDS = Histogram("archetype_http_request_seconds", "Time to answer, by route.", ("route",))
OWN = {"archetype_http_requests": "counter", "archetype_http_request_seconds": "histogram"}
"""What each process counts of its own."""

LIVE = {
    "archetype_jobs": Metric("gauge", "Jobs by state.", ("state",)),
    "archetype_shares": Metric("gauge", "Shares that wait or are worked on.", ("state",)),
    "archetype_queue_oldest_seconds": Metric("gauge", "How long the oldest job waits to be begun.", ("priority",)),
    "archetype_job_oldest_seconds": Metric("gauge", "Age of the oldest job that has not ended.", ("state",)),
    "archetype_job_late_seconds": Metric("gauge", "How long a job is past its deadline and has not ended."),
    "archetype_webhooks_overdue_seconds": Metric("gauge", "How long a webhook is due that nobody tried to deliver."),
    "archetype_workers": Metric("gauge", "Workers that are there.", ("busy",)),
    "archetype_gpu_memory_bytes": Metric("gauge", "GPU memory held by a worker.", ("worker",)),
}
"""What is looked up when Prometheus asks: the same from every process."""

Values = list[tuple[Labels, float]]


class Live(Collector):
    """How things stand."""

    def __init__(self, records: Records, presence: Presence) -> None:
        self._records = records
        self._presence = presence

    def collect(self) -> Iterator[Family]:
        values = self._read()
        for name, metric in LIVE.items():
            yield _make_family(GaugeMetricFamily, name, metric, values[name])

    def _read(self) -> dict[str, Values]:
        backlog, workers = read_backlog(self._records), self._presence.entries()
        busy = Counter(str(entry.busy).lower() for entry in workers.values())
        return {
            "archetype_jobs": [((state.value,), self._records.count(state)) for state in State],
            "archetype_shares": [(("queued",), backlog.queued), (("running",), backlog.running)],
            "archetype_queue_oldest_seconds": [((rank,), age) for rank, age in backlog.oldest.items()],
            "archetype_job_oldest_seconds": [((state,), age) for state, age in backlog.unfinished.items()],
            "archetype_job_late_seconds": [((), backlog.late)],
            "archetype_webhooks_overdue_seconds": [((), backlog.overdue)],
            "archetype_workers": [((said,), busy[said]) for said in ("true", "false")],
            "archetype_gpu_memory_bytes": [((worker,), entry.memory) for worker, entry in workers.items()],
        }


class Counted(Collector):
    """What all processes of the service have counted."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def collect(self) -> Iterator[Family]:
        plain: dict[str, Values] = {}
        timed: dict[str, dict[Labels, dict[str, float]]] = {}
        for name, labels, part, value in read_counts(self._records):
            if part is None:
                plain.setdefault(name, []).append((labels, value))
            else:
                timed.setdefault(name, {}).setdefault(labels, {})[part] = value
        for name, metric in METRICS.items():
            if metric.kind == "histogram":
                yield _make_histogram(name, metric, timed.get(name, {}))
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            yield _make_family(kind, name, metric, plain.get(name, []))


def _make_family(
    kind: type[CounterMetricFamily | GaugeMetricFamily], name: str, metric: Metric, values: Values
) -> Family:
    family = kind(name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _make_histogram(name: str, metric: Metric, found: dict[Labels, dict[str, float]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
    for labels, parts in found.items():
        below, buckets = 0.0, []
        for bound in (*map(str, WAITS), "+Inf"):
            below += parts.get(bound, 0)
            buckets.append((bound, below))
        family.add_metric(labels, buckets, parts.get("sum", 0))
    return family


def render_metrics(records: Records, presence: Presence) -> bytes:
    """All metrics in Prometheus' text format."""
    live = CollectorRegistry()
    for collector in (Live(records, presence), Counted(records)):
        live.register(collector)
    return generate_latest(live) + generate_latest(REGISTRY)


def watch(app: Flask) -> None:
    """Counts and times every request of the application."""

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.url_rule else "any"
        REQUESTS.labels(route, method, str(response.status_code)).inc()
        SECONDS.labels(route).observe(time.perf_counter() - g.get("started", time.perf_counter()))
        return response
