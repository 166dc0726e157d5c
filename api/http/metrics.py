"""Prometheus metrics of the API and of the whole service."""

import hmac
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

from api.dependencies import Services
from api.http.auth import find_caller, read_token
from archetype.contract.job import State
from archetype.contract.problem import FieldError
from shared.errors import Forbidden, Unauthorized
from shared.state.job_index import JobIndex
from shared.state.metrics import HISTOGRAM_BOUNDS, METRICS, Labels, Metric, read_metrics
from shared.state.queue_depth import read_queue_depth
from shared.state.redis_client import RedisClient

REQUESTS = prometheus_client.Counter(
    "archetype_http_requests", "Requests by route, method and status.", ("route", "method", "status")
)
SECONDS = Histogram("archetype_http_request_seconds", "Time to answer a request, by route.", ("route",))
OWN = {"archetype_http_requests": "counter", "archetype_http_request_seconds": "histogram"}
"""Metrics that each process of the API counts by itself, with their kinds."""

LIVE = {
    "archetype_jobs": Metric("gauge", "Jobs by state.", ("state",)),
    "archetype_shares": Metric("gauge", "Shards that are queued or running.", ("state",)),
    "archetype_queue_oldest_seconds": Metric("gauge", "Waiting time of the oldest queued job.", ("priority",)),
    "archetype_job_oldest_seconds": Metric("gauge", "Age of the oldest job that has not ended.", ("state",)),
    "archetype_job_late_seconds": Metric("gauge", "Time since the deadline of the job that is overdue the longest."),
    "archetype_webhooks_overdue_seconds": Metric(
        "gauge", "Time that a due webhook waits while no sender looks for it."
    ),
    "archetype_redis_memory_ratio": Metric("gauge", "Used memory of Redis divided by maxmemory; 0 without maxmemory."),
    "archetype_redis_memory_watermark_ratio": Metric("gauge", "The same ratio above which new jobs are refused."),
    "archetype_workers": Metric("gauge", "Connected workers.", ("busy",)),
    "archetype_gpu_memory_bytes": Metric("gauge", "GPU memory that a worker has allocated.", ("worker",)),
}
"""Metrics that are read from Redis at every scrape: every process returns the same values."""

Values = list[tuple[Labels, float]]


class LiveCollector(Collector):
    """Reads the current state of queue and workers at every scrape."""

    def __init__(self, services: Services) -> None:
        self._redis_client = services.redis_client
        self._redis_memory = services.redis_memory
        self._worker_registry = services.worker_registry
        self._watermark = services.settings.redis_memory_watermark

    def collect(self) -> Iterator[Family]:
        """Yields the metrics of `LIVE`."""
        values = self._read()
        for name, metric in LIVE.items():
            yield _make_family(GaugeMetricFamily, name, metric, values[name])

    def _read(self) -> dict[str, Values]:
        depth, workers = read_queue_depth(self._redis_client), self._worker_registry.entries()
        busy = Counter(str(entry.busy).lower() for entry in workers.values())
        return {
            "archetype_jobs": [((state.value,), JobIndex(self._redis_client).count(state)) for state in State],
            "archetype_shares": [(("queued",), depth.queued), (("running",), depth.running)],
            "archetype_queue_oldest_seconds": [((priority,), age) for priority, age in depth.oldest.items()],
            "archetype_job_oldest_seconds": [((state,), age) for state, age in depth.unfinished.items()],
            "archetype_job_late_seconds": [((), depth.late)],
            "archetype_webhooks_overdue_seconds": [((), depth.overdue)],
            "archetype_redis_memory_ratio": [((), self._redis_memory.read_share())],
            "archetype_redis_memory_watermark_ratio": [((), self._watermark)],
            "archetype_workers": [((label,), busy[label]) for label in ("true", "false")],
            "archetype_gpu_memory_bytes": [((worker,), entry.memory) for worker, entry in workers.items()],
        }


class CountCollector(Collector):
    """Reads the counts that all processes of the service add to in Redis."""

    def __init__(self, redis_client: RedisClient) -> None:
        self._redis_client = redis_client

    def collect(self) -> Iterator[Family]:
        """Yields the metrics of `METRICS`."""
        plain: dict[str, Values] = {}
        histograms: dict[str, dict[Labels, dict[str, float]]] = {}
        for name, labels, bucket, value in read_metrics(self._redis_client):
            if bucket is None:
                plain.setdefault(name, []).append((labels, value))
            else:
                histograms.setdefault(name, {}).setdefault(labels, {})[bucket] = value
        for name, metric in METRICS.items():
            if metric.kind == "histogram":
                yield _make_histogram(name, metric, histograms.get(name, {}))
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


def _make_histogram(name: str, metric: Metric, counts: dict[Labels, dict[str, float]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
    for labels, count_by_bound in counts.items():
        cumulative, buckets = 0.0, []
        for bound in (*map(str, HISTOGRAM_BOUNDS), "+Inf"):
            cumulative += count_by_bound.get(bound, 0)
            buckets.append((bound, cumulative))
        family.add_metric(labels, buckets, count_by_bound.get("sum", 0))
    return family


def render_metrics(services: Services) -> bytes:
    """Returns all metrics in the text format of Prometheus."""
    shared_registry = CollectorRegistry()
    for collector in (LiveCollector(services), CountCollector(services.redis_client)):
        shared_registry.register(collector)
    return generate_latest(shared_registry) + generate_latest(REGISTRY)


def check_access(services: Services) -> None:
    """Checks that the caller may read the metrics, which name models of all tenants.

    Raises:
        Unauthorized: The request has neither `ARCHETYPE_METRICS_TOKEN` nor other valid credentials.
        Forbidden: The caller is a tenant.
    """
    expected, token = services.settings.metrics_token, read_token()
    if expected and token and hmac.compare_digest(token.encode(), expected.get_secret_value().strip().encode()):
        return
    caller = find_caller(services)
    field = FieldError(field="Authorization", detail="missing or not valid", allowed="Bearer and a token")
    if caller is None:
        raise Unauthorized("send Authorization: Bearer and the token of ARCHETYPE_METRICS_TOKEN", field)
    if caller.key is not None and not caller.root:
        raise Forbidden(
            "the metrics are about all tenants, so a tenant's key cannot read them; send the token of "
            "ARCHETYPE_METRICS_TOKEN or ARCHETYPE_OPERATOR_TOKEN"
        )


def register_metrics(app: Flask) -> None:
    """Makes the application count and time every request."""

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
