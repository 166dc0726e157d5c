"""The benchmarks in a short form: they run, and they print what they measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def run(folder: Path, module: str, *arguments: str) -> str:
    """Runs a benchmark in an empty folder and returns its output."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}", "PATH": "/usr/bin:/bin"}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.slow
def test_speed_compares_the_engine_with_the_minimal_loop(tmp_path: Path) -> None:
    options = ["--networks", "squeezenet1_0", "--targets", "2", "--steps", "2", "--rounds", "1", "--batch", "2"]
    printed = run(tmp_path, "benchmarks.speed", *options)
    rows = {row["subject"]: row for row in json.loads((tmp_path / "var/bench/speed.json").read_text())["rows"]}
    assert {"engine", "engine, default recipe", "minimal loop"} <= set(rows)
    assert rows["engine"]["engine_is_faster_by"] == 1
    assert all(row["milliseconds"] > 0 and row["peak_megabytes"] > 100 for row in rows.values())
    assert f"| {rows['minimal loop']['milliseconds']:.1f} |" in printed


@pytest.mark.slow
def test_quality_measures_the_predictions_of_independent_networks(tmp_path: Path, models: Path) -> None:
    options = ["--presets", "default", "lucid", "--params", '{"steps": 40}']
    printed = run(tmp_path, "benchmarks.quality", "resnet20", "resnet32", "resnet44", "resnet56", *options)
    ours = json.loads((tmp_path / "var/bench/quality-resnet20-ten.json").read_text())["rows"][0]
    assert ours["preset"] == "default"
    assert ours["self"]["top1"] >= 0.9
    assert min(ours[f"resnet{depth}@1"]["top1"] for depth in (32, 44, 56)) >= 0.5
    assert (tmp_path / "var/bench/resnet20-default-10.png").read_bytes().startswith(b"\x89PNG")
    assert "| `lucid` | 40 |" in printed


@pytest.mark.slow
def test_saliency_compares_the_engine_with_captum_and_the_minimal_loop(tmp_path: Path) -> None:
    options = ["--networks", "squeezenet1_0", "--images", "4", "--rounds", "1", "--batch", "4"]
    printed = run(tmp_path, "benchmarks.saliency", *options)
    rows = json.loads((tmp_path / "var/bench/saliency.json").read_text())["rows"]
    assert [row["subject"].split(",")[0] for row in rows] == ["engine", "minimal loop", "engine", "Captum"]
    assert rows[0]["engine_is_faster_by"] == 1
    assert f"| {rows[3]['milliseconds']:.1f} |" in printed


def test_localization_compares_kinds_of_saliency_with_constant_guesses(tmp_path: Path) -> None:
    run(tmp_path, "benchmarks.localization", "shapes", "--images", "24", "--kinds", "gradient", "guided")
    rows = {row["kind"]: row for row in json.loads((tmp_path / "var/bench/localization-shapes.json").read_text())}
    assert list(rows) == ["whole image", "centered box", "gradient", "guided"]
    assert sum(rows["guided"]["hits"]) >= 0.9 * 24
    assert sum(overlap >= 0.5 for overlap in rows["guided"]["overlaps"]) >= 0.7 * 24
