"""The Grafana dashboard: current state, then jobs, workers, errors, API and audits."""

from collections.abc import Iterator
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from deploy.monitoring.series import own, shared

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
HEIGHT, WIDE, NARROW = 7, 8, 4


class Panel(NamedTuple):
    """A time series panel.

    Attributes:
        legend: The name of each line, with labels in double braces.
        expression: A PromQL expression.
    """

    title: str
    unit: str
    legend: str
    expression: str


def quantile(rank: float, name: str, by: str) -> str:
    """Returns the expression of a quantile of a histogram over 15 minutes."""
    buckets = shared(f"{name}_bucket", window="15m")
    return f"histogram_quantile({rank}, sum by (le, {by}) ({buckets}))"


def growth(name: str, by: str, window: str = "5m", seconds: float = 1) -> str:
    """Returns the expression of the growth of a counter in a number of seconds, averaged over a window."""
    expression = f"sum by ({by}) ({shared(name, window=window)})"
    return expression if seconds == 1 else f"{expression} * {seconds}"


HOUR, DAY = 3600, 86_400
REQUESTS, ROUTES = "archetype_http_requests_total", "archetype_http_request_seconds_bucket"
SLOTS, PLACES = (growth(f"archetype_batch_{name}_total", "model", "15m") for name in ("slots", "places"))
SLOWEST = f"histogram_quantile(0.99, sum by (le, route) ({own(ROUTES)}))"
TRIGGERED = growth("archetype_audits_triggered_total", "outcome", "1d", DAY)
MISSING = shared("archetype_audits_missing")
LAST_POLL = shared("archetype_scheduler_looked_timestamp_seconds")
QUEUED, FAILED = shared("archetype_shares", "state=queued"), "archetype_jobs_ended_total"
OLDEST = shared("archetype_queue_oldest_seconds", "priority=interactive")

NOW = [
    ("Workers", "short", f"sum({shared('archetype_workers')})"),
    ("Busy workers", "short", f"sum({shared('archetype_workers', 'busy=true')})"),
    ("Queued shards", "short", f"sum({QUEUED})"),
    ("Oldest queued interactive job", "s", OLDEST),
    ("Failed jobs, last 30 minutes", "short", f"sum({shared(FAILED, 'state=failed', '30m')}) * 1800"),
    ("Releases without audit", "short", MISSING),
]

ROWS: dict[str, list[Panel]] = {
    "Jobs": [
        Panel("Ended jobs per second", "ops", "{{state}}", growth("archetype_jobs_ended_total", "state")),
        Panel(
            "Time in queue, 90th percentile", "s", "{{priority}}", quantile(0.9, "archetype_queue_seconds", "priority")
        ),
        Panel("Run time, 90th percentile", "s", "{{method}}", quantile(0.9, "archetype_run_seconds", "method")),
    ],
    "Queue": [
        Panel("Shards", "short", "{{state}}", shared("archetype_shares")),
        Panel("Oldest queued job", "s", "{{priority}}", shared("archetype_queue_oldest_seconds")),
        Panel("Targets per second", "ops", "{{model}}", growth("archetype_targets_total", "model")),
    ],
    "Workers": [
        Panel("Workers", "short", "busy: {{busy}}", shared("archetype_workers")),
        Panel("Batch utilization", "percentunit", "{{model}}", f"{SLOTS} / {PLACES}"),
        Panel("GPU memory", "bytes", "{{worker}}", shared("archetype_gpu_memory_bytes")),
    ],
    "Errors": [
        Panel(
            "Returned shards per hour",
            "short",
            "{{why}}",
            growth("archetype_shares_returned_total", "why", "1h", HOUR),
        ),
        Panel(
            "Webhook delivery attempts per second",
            "ops",
            "{{outcome}}",
            growth("archetype_webhook_tries_total", "outcome"),
        ),
        Panel("Used memory of Redis", "percentunit", "", shared("archetype_redis_memory_ratio")),
        Panel("Age of the oldest job", "s", "{{state}}", shared("archetype_job_oldest_seconds")),
    ],
    "API": [
        Panel("Requests per second", "reqps", "{{status}}", f"sum by (status) ({own(REQUESTS)})"),
        Panel("Response time, 99th percentile", "s", "{{route}}", SLOWEST),
        Panel("4xx responses per second", "reqps", "{{status}}", f"sum by (status) ({own(REQUESTS, 'status=~4..')})"),
    ],
    "Audits": [
        Panel("Scheduled audits per day", "short", "{{outcome}}", TRIGGERED),
        Panel("Releases without audit", "short", "releases", MISSING),
        Panel("Time since the last poll of the scheduler", "s", "", f"time() - {LAST_POLL}"),
    ],
}


def make_dashboard() -> str:
    """Returns the dashboard as JSON, for import into Grafana."""
    board = dashboard.Dashboard("Archetype").uid("archetype").tags(["archetype"]).time("now-6h", "now").refresh("30s")
    board = board.with_variable(dashboard.DatasourceVariable("source").type("prometheus").label("Prometheus"))
    for title, unit, expression in NOW:
        board = board.with_panel(make_stat(title, unit, expression))
    for title, panels in ROWS.items():
        board = board.with_row(dashboard.Row(title))
        for panel in panels:
            board = board.with_panel(make_time_series(panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def make_stat(title: str, unit: str, expression: str) -> stat.Panel:
    """Builds a panel with one number."""
    panel = stat.Panel().title(title).unit(unit).datasource(SOURCE).height(NARROW).span(NARROW)
    return panel.with_target(make_query(expression, ""))


def make_time_series(panel: Panel) -> timeseries.Panel:
    """Builds a panel with a graph."""
    graph = timeseries.Panel().title(panel.title).unit(panel.unit).datasource(SOURCE).height(HEIGHT).span(WIDE)
    graph = graph.min(0).fill_opacity(10).tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    return graph.with_target(make_query(panel.expression, panel.legend))


def make_query(expression: str, legend: str) -> prometheus.Dataquery:
    """Builds the query of a panel."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id("A")


def list_expressions() -> Iterator[str]:
    """Yields the expressions of all panels."""
    yield from (expression for _, _, expression in NOW)
    for panels in ROWS.values():
        yield from (panel.expression for panel in panels)
