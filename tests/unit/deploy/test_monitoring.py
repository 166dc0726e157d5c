"""Alerts and dashboard use existing metrics, fire when they should, and link to the runbook."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import promql_parser
import pytest
import yaml

from deploy.local import Stack
from deploy.monitoring.alerts import ALERTS, RUNBOOK, Alert, make_rules
from deploy.monitoring.dashboard import list_expressions
from deploy.monitoring.series import list_names, shared
from deploy.monitoring.write import FOLDER, make_files
from tests.support.paths import ROOT
from tools.checks.manifests import OVERLAYS

SCALING = yaml.safe_load((OVERLAYS[1] / "scaling.yaml").read_text())["spec"]["triggers"][0]["metadata"]["query"]

FIRES = {
    "ServiceSilent": {},
    "RequestsFail": {
        'archetype_http_requests_total{status="500"}': "0+6x60",
        'archetype_http_requests_total{status="200"}': "0+60x60",
    },
    "WorkersAbsent": {'archetype_workers{busy="true"}': "0x60", 'archetype_workers{busy="false"}': "0x60"},
    "WorkersNotConsuming": {
        'archetype_shares{state="queued"}': "3x60",
        'archetype_shares{state="running"}': "0x60",
        'archetype_workers{busy="false"}': "1x60",
    },
    "InteractiveJobsWait": {'archetype_queue_oldest_seconds{priority="interactive"}': "301x60"},
    "BulkJobsWait": {'archetype_queue_oldest_seconds{priority="bulk"}': "21601x60"},
    "JobsStuck": {"archetype_job_late_seconds": "901x60"},
    "RedisMemoryFull": {
        "archetype_redis_memory_ratio": "0.9x60",
        "archetype_redis_memory_watermark_ratio": "0.85x60",
    },
    "RedisMemoryFills": {
        "archetype_redis_memory_ratio": "0.7x60",
        "archetype_redis_memory_watermark_ratio": "0.85x60",
    },
    "JobsFail": {
        'archetype_jobs_ended_total{state="failed"}': "0+1x60",
        'archetype_jobs_ended_total{state="succeeded"}': "0+5x60",
    },
    "WorkersLost": {'archetype_shares_returned_total{why="abandoned"}': "0x40 6x20"},
    "SharesGivenUp": {'archetype_shares_returned_total{why="given_up"}': "_x40 1x20"},
    "SchedulerSilent": {"archetype_scheduler_looked_timestamp_seconds": "60x60"},
    "AuditsMissing": {"archetype_audits_missing": "1x60"},
    "AuditsRefused": {'archetype_audits_triggered_total{outcome="refused"}': "_x40 1x20"},
    "AuditsFail": {'archetype_jobs_ended_total{method="audit",state="failed"}': "_x40 1x20"},
    "WebhooksWait": {"archetype_webhooks_overdue_seconds": "301x60"},
}
"""Samples of an hour that make each alert fire, in the notation of promtool; two API processes report them."""

QUIET = {
    'archetype_jobs{state="queued"}': "0x60",
    'archetype_http_requests_total{status="500"}': "0+1x60",
    'archetype_http_requests_total{status="200"}': "0+600x60",
    'archetype_workers{busy="true"}': "1x60",
    'archetype_workers{busy="false"}': "0x60",
    'archetype_shares{state="queued"}': "30x60",
    'archetype_shares{state="running"}': "8x60",
    'archetype_queue_oldest_seconds{priority="interactive"}': "20x60",
    'archetype_queue_oldest_seconds{priority="bulk"}': "4000x60",
    'archetype_job_oldest_seconds{state="running"}': "90000x60",
    "archetype_job_late_seconds": "2x60",
    'archetype_jobs_ended_total{state="failed"}': "0+0.1x60",
    'archetype_jobs_ended_total{state="succeeded"}': "0+5x60",
    'archetype_shares_returned_total{why="abandoned"}': "2x60",
    "archetype_scheduler_looked_timestamp_seconds": "0+60x60",
    "archetype_audits_missing": "0x60",
    "archetype_webhooks_overdue_seconds": "2x60",
}
"""Samples of a healthy service."""


def find_series(expression: str) -> set[str]:
    """Returns the names of all series in an expression."""
    names = set[str]()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            names.add(node.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return names


@pytest.mark.parametrize("expression", [*(alert.condition for alert in ALERTS), *list_expressions(), SCALING])
def test_every_series_of_an_expression_exists(expression: str) -> None:
    assert find_series(expression)
    assert find_series(expression) <= list_names()


def test_the_metrics_endpoint_has_exactly_the_known_series(stack: Stack) -> None:
    text = httpx2.get(f"{stack.url}/metrics").text
    exposed = set(re.findall(r"^# TYPE (archetype_\w+) ", text, re.MULTILINE))
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in list_names()}
    assert known == {name for name in exposed if not name.endswith("_created")}


def test_an_unknown_series_raises_an_error() -> None:
    with pytest.raises(KeyError, match="archetype_jbos"):
        shared("archetype_jbos")


def test_the_generated_files_are_up_to_date() -> None:
    for name, text in make_files().items():
        assert (FOLDER / name).read_text() == text, "run `make monitoring`"


def test_the_runbook_has_one_section_for_each_alert() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / RUNBOOK).read_text(), re.MULTILINE)
    assert headings == [alert.name for alert in ALERTS]


def test_every_panel_has_a_data_source_and_its_own_position() -> None:
    board = json.loads((FOLDER / "dashboard.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) == len(list(list_expressions()))
    positions = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(positions) == len(panels)
    assert all(panel["datasource"]["uid"] == "${source}" for panel in panels)


@pytest.fixture(scope="module")
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("needs promtool: apt-get install prometheus")
    return path


def run_promtool(promtool: str, folder: Path, samples: dict[str, str], expected: dict[str, bool]) -> None:
    """Asserts that at the end of the hour exactly the expected alerts fire."""
    base = {'archetype_jobs{state="queued"}': "0x60"} if samples else {}
    doubled = [
        {"series": with_instance(series, instance), "values": values}
        for series, values in (base | samples).items()
        for instance in ("one", "two")
    ]
    (folder / "rules.yml").write_text(yaml.safe_dump(make_rules()))
    expressions = [
        {
            "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
            "eval_time": "59m",
            "exp_samples": [{"labels": "{}", "value": int(fires)}],
        }
        for name, fires in expected.items()
    ]
    tests = [{"interval": "1m", "input_series": doubled, "promql_expr_test": expressions}]
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}))
    result = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def with_instance(series: str, instance: str) -> str:
    name, _, labels = series.partition("{")
    return f'{name}{{instance="{instance}",node="of-{instance}"{"," + labels if labels else "}"}'


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_each_alert_fires_on_its_fault(alert: Alert, promtool: str, tmp_path: Path) -> None:
    run_promtool(promtool, tmp_path, FIRES[alert.name], {alert.name: True})


def test_no_alert_fires_for_a_healthy_service(promtool: str, tmp_path: Path) -> None:
    run_promtool(promtool, tmp_path, QUIET, {alert.name: False for alert in ALERTS})


def test_every_log_event_in_the_runbook_exists() -> None:
    source = "".join(
        path.read_text() for folder in ("api", "worker", "shared") for path in (ROOT / folder).rglob("*.py")
    )
    for event in re.findall(r"`([a-z]+\.[a-z_]+)`", (ROOT / RUNBOOK).read_text()):
        assert f'"{event}"' in source, event


RARE = {"WorkersLost", "SharesGivenUp", "AuditsRefused", "AuditsFail"}


@pytest.mark.parametrize("name", sorted(RARE))
def test_an_old_count_fires_no_alert_when_prometheus_starts(name: str, promtool: str, tmp_path: Path) -> None:
    late = dict.fromkeys(FIRES[name], "_x40 9x20") | {'archetype_jobs{state="queued"}': "_x40 0x20"}
    run_promtool(promtool, tmp_path, late, {name: False})


def test_an_alert_fires_after_redis_was_wiped(promtool: str, tmp_path: Path) -> None:
    wiped = {'archetype_shares_returned_total{why="abandoned"}': "50x35 0x10 7x15"}
    run_promtool(promtool, tmp_path, wiped, {"WorkersLost": True})
