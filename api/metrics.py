"""What the API counts, for Prometheus."""

import time

from flask import Flask, Response, g, request
from prometheus_client import REGISTRY, Counter, Histogram, generate_latest
from prometheus_client.core import CollectorRegistry, GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.jobs import State
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


def render_metrics(records: Records) -> bytes:
    """All metrics in Prometheus' text format."""
    live = CollectorRegistry()
    live.register(JobsByState(records))
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
