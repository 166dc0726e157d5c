"""The board: from what users feel, down to what it comes from."""

from collections.abc import Iterator

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from deploy.monitoring.series import own, shared

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
HEIGHT, WIDE, NARROW = 7, 8, 4

Row = tuple[str, list[tuple[str, str, str, str]]]
"""A title and its panels: each with a title, a unit, what its lines are called, and what is asked for."""


def quantile(rank: float, name: str, by: str) -> str:
    grown = shared(f"{name}_bucket", window="15m")
    return f"histogram_quantile({rank}, sum by (le, {by}) ({grown}))"


def grown(name: str, by: str, window: str = "5m", seconds: float = 1) -> str:
    """How much a counter grows in so many seconds, looked at over a window."""
    expression = f"sum by ({by}) ({shared(name, window=window)})"
    return expression if seconds == 1 else f"{expression} * {seconds}"


HOUR, DAY = 3600, 86_400
REQUESTS, ROUTES = "archetype_http_requests_total", "archetype_http_request_seconds_bucket"
SLOTS, PLACES = (grown(f"archetype_batch_{what}_total", "model", "15m") for what in ("slots", "places"))
SLOWEST = f"histogram_quantile(0.99, sum by (le, route) ({own(ROUTES)}))"
TRIGGERED = grown("archetype_audits_triggered_total", "outcome", "1d", DAY)
MISSING = shared("archetype_audits_missing")

NOW = [
    ("Workers", "short", f"sum({shared('archetype_workers')})"),
    ("At work", "short", f"sum({shared('archetype_workers', 'busy=true')})"),
    ("Shares that wait", "short", f"sum({shared('archetype_shares', 'state=queued')})"),
    ("Oldest interactive", "s", shared("archetype_queue_oldest_seconds", "priority=interactive")),
    ("Failed in half an hour", "short", f"sum({shared('archetype_jobs_ended_total', 'state=failed', '30m')}) * 1800"),
    ("Audits missing", "short", MISSING),
]

ROWS: list[Row] = [
    ("Jobs", [
        ("Jobs that ended, a second", "ops", "{{state}}", grown("archetype_jobs_ended_total", "state")),
        ("Until a worker takes it, 9 of 10", "s", "{{priority}}", quantile(0.9, "archetype_queue_seconds", "priority")),
        ("From then to the end, 9 of 10", "s", "{{method}}", quantile(0.9, "archetype_run_seconds", "method")),
    ]),
    ("Work", [
        ("Shares", "short", "{{state}}", shared("archetype_shares")),
        ("Oldest that waits", "s", "{{priority}}", shared("archetype_queue_oldest_seconds")),
        ("Targets, a second", "ops", "{{model}}", grown("archetype_targets_total", "model")),
    ]),
    ("Workers", [
        ("Workers", "short", "busy: {{busy}}", shared("archetype_workers")),
        ("How full batches are", "percentunit", "{{model}}", f"{SLOTS} / {PLACES}"),
        ("GPU memory", "bytes", "{{worker}}", shared("archetype_gpu_memory_bytes")),
    ]),
    ("What goes wrong", [
        ("Shares returned, an hour", "short", "{{why}}", grown("archetype_shares_returned_total", "why", "1h", HOUR)),
        ("Webhook tries, a second", "ops", "{{outcome}}", grown("archetype_webhook_tries_total", "outcome")),
        ("Oldest job", "s", "{{state}}", shared("archetype_job_oldest_seconds")),
    ]),
    ("API", [
        ("Requests, a second", "reqps", "{{status}}", f"sum by (status) ({own(REQUESTS)})"),
        ("Time to answer, 99 of 100", "s", "{{route}}", SLOWEST),
        ("Refused, a second", "reqps", "{{status}}", f"sum by (status) ({own(REQUESTS, 'status=~4..')})"),
    ]),
    ("Audits", [
        ("By schedules, a day", "short", "{{outcome}}", TRIGGERED),
        ("Without an audit", "short", "releases", MISSING),
        ("Since the scheduler looked", "s", "", f"time() - {shared('archetype_scheduler_looked_timestamp_seconds')}"),
    ]),
]  # fmt: skip


def make_dashboard() -> str:
    """As Grafana imports it."""
    board = (
        dashboard.Dashboard("Archetype").uid("archetype").tags(["archetype"]).time("now-6h", "now").refresh("30s")
        .with_variable(dashboard.DatasourceVariable("source").type("prometheus").label("Prometheus"))
    )  # fmt: skip
    for title, unit, expression in NOW:
        board = board.with_panel(
            stat.Panel().title(title).unit(unit).datasource(SOURCE).height(NARROW).span(NARROW)
            .with_target(ask(expression, ""))
        )  # fmt: skip
    for title, panels in ROWS:
        board = board.with_row(dashboard.Row(title))
        for panel in panels:
            board = board.with_panel(draw(*panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def draw(title: str, unit: str, legend: str, expression: str) -> timeseries.Panel:
    return (
        timeseries.Panel().title(title).unit(unit).datasource(SOURCE).height(HEIGHT).span(WIDE).min(0)
        .fill_opacity(10).tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .with_target(ask(expression, legend))
    )  # fmt: skip


def ask(expression: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id("A")


def list_expressions() -> Iterator[str]:
    """Every one that the board asks for."""
    yield from (expression for _, _, expression in NOW)
    for _, panels in ROWS:
        yield from (expression for *_, expression in panels)
