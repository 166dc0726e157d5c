"""`archetype audit` in a pipeline: what it prints, what it saves, and its exit codes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors.torch import save_file

from deploy.local import Stack
from tests.support.networks import small
from tests.support.paths import ROOT

PICTURES = ROOT / "deploy" / "pictures"
PLAN = """
name = "pipeline"
classes = ["lemon", "bee"]
baselines = ["shapes@1"]
seeds = [1, 2]
noise_seeds = [3, 4]
subject_seeds = [1, 2]
class_models = {{ steps = {steps}, extras = false }}
[probes]
folder = "probes"
[gates.sanity]
tolerance = 0.5
severity = "fail"
[gates.trigger]
tolerance = 1.6
severity = "off"
"""
"""Triggers are searched by the slow tests of the audit demo."""


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
    command = [sys.executable, "-m", "archetype", "--url", url, "audit", "run", "shapes"]
    return subprocess.run(
        [*command, "--plan", plan.name, *more],
        cwd=plan.parent,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_a_release_that_passes_exits_with_0_and_its_report_is_saved(stack: Stack, plan: Path) -> None:
    done = audit(stack.url, plan, "--out", "here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("pass: shapes@1 compared with shapes@1")
    saved = {path.name for path in (plan.parent / "here").iterdir()}
    assert saved == {
        "report.html",
        "report.json",
        "report.json.sig",
        "report.pdf",
        "junit.xml",
        "report.sarif",
        "summary.md",
    }
    for words in (("audit", "key"), ("audit", "verify", "here/report.json")):
        command = [sys.executable, "-m", "archetype", "--url", stack.url, *words]
        checked = subprocess.run(command, cwd=plan.parent, capture_output=True, text=True, timeout=60, check=False)
        assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("valid: here/report.json is signed with the key ")
    report = json.loads((plan.parent / "here" / "report.json").read_text())
    assert sorted(len(probe["boxes"]) for probe in report["plan"]["probes"]) == [0, 1]
    shutil.copy(plan.parent / "here" / "report.json", plan.parent / "report.json")
    again = audit(stack.url, plan.parent / "report.json", "--out", "there")  # a report contains its plan
    assert again.returncode == 0, again.stderr
    there = json.loads((plan.parent / "there" / "report.json").read_text())
    assert there["created_at"] == report["created_at"]  # the same audit, not a new one


def test_the_trend_of_a_model_is_shown_and_its_audits_are_scheduled(stack: Stack, plan: Path) -> None:
    def archetype(*words: str) -> str:
        command = [sys.executable, "-m", "archetype", "--url", stack.url, *words]
        done = subprocess.run(command, cwd=plan.parent, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    audit(stack.url, plan)
    assert "recognised" in archetype("audit", "trend", "shapes")
    when = ("--no-on-release", "--cron", "0 0 29 2 *", "--timezone", "Europe/Berlin")
    added = archetype("schedules", "add", "shapes", "--plan", plan.name, *when)
    schedule_id = added.split()[1].rstrip(":")
    assert "next at 20" in added
    assert schedule_id in archetype("schedules", "list")
    assert json.loads(archetype("schedules", "show", schedule_id))["timezone"] == "Europe/Berlin"
    archetype("schedules", "remove", schedule_id)
    assert schedule_id not in archetype("schedules", "list")


def test_a_release_that_fails_exits_with_1(stack: Stack, plan: Path) -> None:
    plan.write_text(PLAN.format(steps=1))  # too few for class models that the network recognizes
    done = audit(stack.url, plan)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not recognize 100% of its own" in " ".join(done.stdout.split())


@pytest.mark.parametrize("wrong", ["lemmon", "[", None])
def test_a_wrong_plan_exits_with_2(stack: Stack, plan: Path, wrong: str | None) -> None:
    if wrong is None:
        plan.unlink()
    else:
        plan.write_text(PLAN.format(steps=1).replace('"lemon"', f'"{wrong}"' if wrong != "[" else "["))
    done = audit(stack.url, plan)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_that_does_not_answer_exits_with_3(plan: Path) -> None:
    done = audit("http://127.0.0.1:9", plan)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "is the service running" in " ".join(done.stderr.split())


def test_releases_that_cannot_be_compared_exit_with_4(stack: Stack, plan: Path) -> None:
    done = audit(stack.url, plan, "--baseline", "slow")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "not_comparable" in done.stdout


def read_gitlab_script() -> str:
    job = yaml.safe_load((ROOT / "deploy" / "pipeline.example.yml").read_text())["audit"]
    assert job["artifacts"]["reports"]["junit"] == "report/junit.xml"
    return "\n".join(job["script"][1:])


def read_github_script() -> str:
    steps = yaml.safe_load((ROOT / "deploy" / "github-actions.example.yml").read_text())["jobs"]["audit"]["steps"]
    uploaded = next(step["with"]["sarif_file"] for step in steps if "upload-sarif" in step.get("uses", ""))
    assert uploaded == "report/report.sarif"
    return "\n".join([step["run"] for step in steps if "run" in step][1:])


def read_argo_script() -> str:
    (template,) = yaml.safe_load((ROOT / "deploy" / "argo.example.yml").read_text())["spec"]["templates"]
    assert template["container"]["command"] == ["sh", "-e", "-c"]
    (script,) = template["container"]["args"]
    return "\n".join(script.splitlines()[1:])


@pytest.mark.parametrize("read_script", [read_gitlab_script, read_github_script, read_argo_script])
def test_the_example_pipelines_run_as_they_are_written(
    stack: Stack, tmp_path: Path, read_script: Callable[[], str]
) -> None:
    """Every command except the installation, with a small network in place of a large one."""
    (tmp_path / "plan.toml").write_text(
        'name = "pipeline"\nclass_models = { steps = 2, extras = false }\nseeds = [1, 2]\nnoise_seeds = [3, 4]\n'
    )
    (tmp_path / "fruit.txt").write_text("apple\nlemon\npear\n")
    save_file(small(3).state_dict(), tmp_path / "fruit.safetensors")
    assert stack.settings.operator_token is not None
    environment = os.environ | {
        "CI_COMMIT_SHORT_SHA": "0a1b2c3d",
        "GITHUB_SHA": "4e5f6071" + "0" * 32,
        "RELEASE": "5f607182",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "step.md"),
        "ARCHETYPE_URL": stack.url,
        "ARCHETYPE_KEY": stack.settings.operator_token.get_secret_value(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    script = read_script()
    for large, little in [("torchvision:resnet18", "factory:small -a channels=3"), ("resize=256", "'size=[16, 16]'")]:
        assert large in script
        script = script.replace(large, little)
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"junit.xml", "report.sarif"} <= {path.name for path in (tmp_path / "report").iterdir()}
