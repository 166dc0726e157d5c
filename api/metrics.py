"""What the API counts, for Prometheus."""

import time
from collections.abc import Iterator

from flask import Flask, Response, g, request
from prometheus_client import REGISTRY, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from shared import counters
from shared.counters import METRICS, WAITS, Labels, read_counts
from shared.jobs import State
from shared.presence import Presence
from shared.records import Records

REQUESTS = Counter("archetype_http_requests", "Requests by route, method and status.", ("route", "method", "status"))
SECONDS = Histogram("archetype_http_request_seconds", "Time to answer, by route.", ("route",))


class JobsByState(Collector):
    """Reads the number of jobs in every state when it is asked: the same from every process."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def collect(self) -> list[GaugeMetricFamily]:
        gauge = GaugeMetricFamily("archetype_jobs", "Jobs by state.", labels=["state"])
        for state in State:
            gauge.add_metric([state.value], self._records.count(state))
        return [gauge]


class Counted(Collector):
    """What all processes of the service have counted."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def collect(self) -> Iterator[Metric]:
        plain: dict[str, list[tuple[Labels, float]]] = {}
        timed: dict[str, dict[Labels, dict[str, float]]] = {}
        for name, labels, part, value in read_counts(self._records):
            if part is None:
                plain.setdefault(name, []).append((labels, value))
            else:
                timed.setdefault(name, {}).setdefault(labels, {})[part] = value
        for name, metric in METRICS.items():
            if metric.kind == "counter":
                family = CounterMetricFamily(name, metric.help, labels=metric.labels)
                for labels, value in plain.get(name, []):
                    family.add_metric(labels, value)
                yield family
            else:
                yield _make_histogram(name, metric, timed.get(name, {}))


class Workers(Collector):
    """The workers that are there, whether they are at work, and how much memory of a GPU they hold."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    def collect(self) -> Iterator[Metric]:
        there = GaugeMetricFamily("archetype_workers", "Workers that are there.", labels=["busy"])
        memory = GaugeMetricFamily("archetype_gpu_memory_bytes", "GPU memory held by a worker.", labels=["worker"])
        entries = self._presence.entries()
        for busy in (True, False):
            there.add_metric([str(busy).lower()], sum(entry.busy is busy for entry in entries.values()))
        for worker, entry in entries.items():
            memory.add_metric([worker], entry.memory)
        yield from (there, memory)


def _make_histogram(name: str, metric: counters.Metric, found: dict[Labels, dict[str, float]]) -> HistogramMetricFamily:
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
    for collector in (JobsByState(records), Counted(records), Workers(presence)):
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
