"""Rules and board ask for what the service measures, fire when they should, and say what to do then."""

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
from tests.deploy.manifests import OVERLAYS

ROOT = Path(__file__).parents[2]
SCALING = yaml.safe_load((OVERLAYS[1] / "scaling.yaml").read_text())["spec"]["triggers"][0]["metadata"]["query"]

FIRES = {
    "ServiceSilent": {},
    "RequestsFail": {
        'archetype_http_requests_total{status="500"}': "0+6x60",
        'archetype_http_requests_total{status="200"}': "0+60x60",
    },
    "WorkersAbsent": {'archetype_workers{busy="true"}': "0x60", 'archetype_workers{busy="false"}': "0x60"},
    "WorkersNotConsuming": {
        'archetype_shares{state="queued"}': "3x60", 'archetype_shares{state="running"}': "0x60",
        'archetype_workers{busy="false"}': "1x60",
    },
    "InteractiveJobsWait": {'archetype_queue_oldest_seconds{priority="interactive"}': "301x60"},
    "BulkJobsWait": {'archetype_queue_oldest_seconds{priority="bulk"}': "21601x60"},
    "JobsStuck": {"archetype_job_late_seconds": "901x60"},
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
}  # fmt: skip
"""What each is to fire for, an hour long, in promtool's notation; two API processes say it."""

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
"""A service that does well."""


def find_series(expression: str) -> set[str]:
    """The names of all series that an expression asks for."""
    found = set[str]()

    def look(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(node.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), look)
    return found


@pytest.mark.parametrize("expression", [*(alert.when for alert in ALERTS), *list_expressions(), SCALING])
def test_what_is_asked_for_is_measured(expression: str) -> None:
    assert find_series(expression)
    assert find_series(expression) <= list_names()


def test_what_is_measured_is_what_prometheus_gets(stack: Stack) -> None:
    text = httpx2.get(f"{stack.url}/metrics").text
    told = set(re.findall(r"^# TYPE (archetype_\w+) ", text, re.MULTILINE))
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in list_names()}
    assert known == {name for name in told if not name.endswith("_created")}


def test_a_series_that_nothing_measures_is_refused() -> None:
    with pytest.raises(KeyError, match="archetype_jbos"):
        shared("archetype_jbos")


def test_the_files_are_what_would_be_written() -> None:
    for name, text in make_files().items():
        assert (FOLDER / name).read_text() == text, "run `make monitoring`"


def test_every_alert_has_a_page_in_the_runbook_and_none_is_left_over() -> None:
    pages = re.findall(r"^## (\w+)$", (ROOT / RUNBOOK).read_text(), re.MULTILINE)
    assert pages == [alert.name for alert in ALERTS]


def test_every_panel_has_its_source_and_a_place() -> None:
    board = json.loads((FOLDER / "dashboard.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) == len(list(list_expressions()))
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["datasource"]["uid"] == "${source}" for panel in panels)


@pytest.fixture(scope="module")
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("there is no promtool here: apt-get install prometheus")
    return path


def ask_promtool(promtool: str, folder: Path, given: dict[str, str], expected: dict[str, bool]) -> None:
    """Raises `AssertionError` where an alert fires at the end of the hour that should not, or the other way round."""
    measured = {'archetype_jobs{state="queued"}': "0x60"} if given else {}
    doubled = [
        {"series": with_instance(series, instance), "values": values}
        for series, values in (measured | given).items()
        for instance in ("one", "two")
    ]
    (folder / "rules.yml").write_text(yaml.safe_dump(make_rules()))
    tests = [
        {"interval": "1m", "input_series": doubled,
         "promql_expr_test": [{"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                               "eval_time": "59m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}
                              for name, fires in expected.items()]}
    ]  # fmt: skip
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def with_instance(series: str, instance: str) -> str:
    name, _, labels = series.partition("{")
    return f'{name}{{instance="{instance}",node="of-{instance}"{"," + labels if labels else "}"}'


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_it_fires_when_it_should(alert: Alert, promtool: str, tmp_path: Path) -> None:
    ask_promtool(promtool, tmp_path, FIRES[alert.name], {alert.name: True})


def test_nothing_fires_while_the_service_does_well(promtool: str, tmp_path: Path) -> None:
    ask_promtool(promtool, tmp_path, QUIET, {alert.name: False for alert in ALERTS})


def test_what_the_runbook_sends_people_to_look_for_is_what_is_logged() -> None:
    source = "".join(
        path.read_text() for folder in ("api", "worker", "shared") for path in (ROOT / folder).rglob("*.py")
    )
    for event in re.findall(r"`([a-z]+\.[a-z_]+)`", (ROOT / RUNBOOK).read_text()):
        assert f'"{event}"' in source, event


RARE = {"WorkersLost", "SharesGivenUp", "AuditsRefused", "AuditsFail"}


@pytest.mark.parametrize("name", sorted(RARE))
def test_what_was_counted_long_ago_fires_nothing_when_prometheus_begins(
    name: str, promtool: str, tmp_path: Path
) -> None:
    late = dict.fromkeys(FIRES[name], "_x40 9x20") | {'archetype_jobs{state="queued"}': "_x40 0x20"}
    ask_promtool(promtool, tmp_path, late, {name: False})


def test_a_redis_that_was_wiped_hides_nothing_that_comes_then(promtool: str, tmp_path: Path) -> None:
    wiped = {'archetype_shares_returned_total{why="abandoned"}': "50x35 0x10 7x15"}
    ask_promtool(promtool, tmp_path, wiped, {"WorkersLost": True})
