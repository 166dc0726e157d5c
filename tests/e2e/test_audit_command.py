"""`archetype audit` as a pipeline has it: what it says, what it saves, and how it ends."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import Stack

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"
PLAN = """
name = "pipeline"
classes = ["lemon", "bee"]
baselines = ["shapes@1"]
seeds = [1, 2]
noise_seeds = [3, 4]
class_models = {{ steps = {steps}, extras = false }}
[probes]
folder = "probes"
[gates.sanity]
tolerance = 0.5
severity = "fail"
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan with two probes, and a box of one of them."""
    for name in ("lemon", "bee"):
        (tmp_path / "probes" / name).mkdir(parents=True)
        shutil.copy(PICTURES / f"{name}.png", tmp_path / "probes" / name / "1.png")
    (tmp_path / "probes" / "boxes.json").write_text(json.dumps({"bee/1.png": [[10, 10, 70, 70]]}))
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(steps=40))
    return path


def audit(url: str, plan: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("archetype")), "--url", url, "audit", "run", "shapes"]
    return subprocess.run(
        [*command, "--plan", plan.name, *more],
        cwd=plan.parent,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_what_passes_exits_with_0_and_leaves_its_report(stack: Stack, plan: Path) -> None:
    done = audit(stack.url, plan, "--out", "here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("pass: shapes@1 beside shapes@1")
    saved = {path.name for path in (plan.parent / "here").iterdir()}
    assert saved == {"report.html", "report.json", "junit.xml", "summary.md"}
    report = json.loads((plan.parent / "here" / "report.json").read_text())
    assert sorted(len(probe["boxes"]) for probe in report["plan"]["probes"]) == [0, 1]
    shutil.copy(plan.parent / "here" / "report.json", plan.parent / "report.json")
    again = audit(stack.url, plan.parent / "report.json", "--out", "there")  # the plan of a report is a plan
    assert again.returncode == 0, again.stderr
    there = json.loads((plan.parent / "there" / "report.json").read_text())
    assert there["created_at"] == report["created_at"]  # the audit that there is


def test_what_fails_exits_with_1(stack: Stack, plan: Path) -> None:
    plan.write_text(PLAN.format(steps=1))  # too few for anything to be recognised
    done = audit(stack.url, plan)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not recognise 100% of its own" in " ".join(done.stdout.split())


@pytest.mark.parametrize("wrong", ["lemmon", "[", None])
def test_a_wrong_plan_exits_with_2(stack: Stack, plan: Path, wrong: str | None) -> None:
    if wrong is None:
        plan.unlink()
    else:
        plan.write_text(PLAN.format(steps=1).replace('"lemon"', f'"{wrong}"' if wrong != "[" else "["))
    done = audit(stack.url, plan)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_that_is_not_there_exits_with_3(plan: Path) -> None:
    done = audit("http://127.0.0.1:9", plan)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "is the service running" in " ".join(done.stderr.split())


def test_what_cannot_be_compared_exits_with_4(stack: Stack, plan: Path) -> None:
    done = audit(stack.url, plan, "--baseline", "slow")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "not_comparable" in done.stdout
