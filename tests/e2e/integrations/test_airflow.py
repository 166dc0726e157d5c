"""The DAG of the documentation, run by Airflow itself."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from archetype.client import Client
from archetype.contract.job import State
from deploy.local import Stack
from tests.support.paths import ROOT

PYTHON = ROOT / ".venv-airflow" / "bin" / "python"
RUNNER = Path(__file__).with_name("airflow_dag.py")
PAGE = ROOT / "docs" / "integrations" / "airflow.md"
PLAN = """
name = "airflow"
classes = ["lemon"]
seeds = [1, 2]
noise_seeds = [3, 4]
subject_seeds = [1, 2]
class_models = {{ steps = {steps}, extras = false }}
[probes]
folder = "{folder}"
"""

pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="needs Airflow: make integrations"),
    pytest.mark.timeout(900),
]


@pytest.fixture
def run(stack: Stack, client: Client, described: Callable[[str], None], tmp_path: Path) -> Callable[..., str]:
    """Runs the DAG with changes to its code; returns what it printed."""
    described("shapes@1")
    lemon = tmp_path / "probes" / "lemon"
    lemon.mkdir(parents=True)
    (lemon / "1.png").write_bytes((ROOT / "deploy" / "pictures" / "lemon.png").read_bytes())

    def run_dag(*changes: tuple[str, str], steps: int = 4, stop: bool = False) -> str:
        plan = tmp_path / "plan.toml"
        plan.write_text(PLAN.format(steps=steps, folder=lemon.parent))
        code = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
        for old, new in (("deploy/plan.example.toml", str(plan)), *changes):
            assert old in code
            code = code.replace(old, new)
        path = tmp_path / "airflow" / "dags" / "release.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
        connection = {"conn_type": "http", "host": stack.url, "password": ""}
        env = os.environ | {
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW_CONN_ARCHETYPE_DEFAULT": json.dumps(connection),
            "AIRFLOW_CONN_BARE": json.dumps(connection | {"host": "archetype.example"}),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "PYTHONPATH": str(ROOT / "sdk"),
        }
        done = subprocess.run(
            [str(PYTHON), str(RUNNER), str(path), *(["--stop"] if stop else [])],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return done.stdout + done.stderr

    return run_dag


def test_the_verdict_is_the_value_of_the_task_and_the_report_is_saved(run: Callable[..., str], tmp_path: Path) -> None:
    printed = run()
    assert "state: success" in printed, printed[-3000:]
    value = json.loads(printed.partition("value: ")[2].splitlines()[0])
    assert (value["model"], value["verdict"], value["findings"]) == ("shapes@1", "warn", 1)  # few probes
    assert (tmp_path / "report" / "report.html").is_file()


def test_a_verdict_of_those_that_fail_the_task_fails_it_with_the_reason(run: Callable[..., str]) -> None:
    printed = run(('out="report"', 'fails_on=["warn"]'))
    assert "state: failed" in printed, printed[-3000:]
    assert "AirflowFailException: warn: shapes@1, audit " in printed


def test_a_connection_that_is_no_url_is_explained(run: Callable[..., str]) -> None:
    printed = run(('out="report"', 'conn_id="bare"'))
    assert "state: failed" in printed, printed[-3000:]
    assert "the host of the connection bare must be the URL of the service" in printed


def test_a_task_that_is_stopped_cancels_its_audit(run: Callable[..., str], client: Client) -> None:
    printed = run(('baselines=["shapes@1"]', 'baselines=["drawings@v2"]'), steps=2000, stop=True)
    audit_id = printed.partition("stopped: ")[2].split()[0]
    assert client.get_audit(audit_id).state is State.CANCELLED, printed[-3000:]
