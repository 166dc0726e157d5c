"""Both wheels: what is in them, and the client installed alone into an empty environment."""

import email
import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from archetype.version import VERSION
from tests.support.cpu_time import cpu_limit
from tests.support.paths import ROOT

IMPORT_SECONDS, START_SECONDS = 0.4, 0.5
"""Limits in seconds of CPU: of importing the client, and of starting the command line."""

PACKAGES = ("api", "shared", "worker")
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.pyc", "build", "*.egg-info")
SERVER_MODULES = ("celery", "redis", "boto3", "numpy", "torch", "flask", "shared", "api", "worker")
SLOW_MODULES = ("typer", "rich")

IMPORT = """
import importlib.util, json, resource, sys
from archetype import Client, ClassModel
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "seconds": usage.ru_utime + usage.ru_stime,
    "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
    "installed": [name for name in NAMES if importlib.util.find_spec(name)],
    "file": sys.modules["archetype"].__file__,
}))
""".replace("NAMES", repr(SERVER_MODULES))

START = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime)
"""


def run_alone(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a program without the paths that this process imports from."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([*map(str, command)], env=variables, capture_output=True, text=True, timeout=60, check=False)


def pip(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def build(source: Path, folder: Path) -> Path:
    done = pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of `sdk/`, built from a copy, because a build writes beside its sources."""
    folder = tmp_path_factory.mktemp("client")
    shutil.copytree(ROOT / "sdk", folder / "sdk", ignore=NOT_SOURCES)
    return build(folder / "sdk", folder)


@pytest.fixture(scope="module")
def service_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the root, built from a copy."""
    folder = tmp_path_factory.mktemp("service")
    source = folder / "source"
    for package in (*PACKAGES, "sdk"):
        shutil.copytree(ROOT / package, source / package, ignore=NOT_SOURCES)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return build(source, folder)


@pytest.fixture(scope="module")
def environment(client_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which only the client and its dependencies are installed; its folder of programs."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], timeout=60, check=True)
    python = folder / "bin" / "python"
    probe = pip("--python", python, "install", "--no-deps", "rich")
    if probe.returncode != 0:
        pytest.skip(f"needs a package index, and none can be reached: {probe.stderr.strip()[-200:]}")
    done = pip("--python", python, "install", client_wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


def list_files(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def list_sources(root: Path, *packages: str) -> set[str]:
    paths = [path for package in packages for path in (root / package).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix() for path in paths if "__pycache__" not in path.parts}


def read_metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_both_wheels_have_the_same_version(client_wheel: Path, service_wheel: Path) -> None:
    client, service = read_metadata(client_wheel), read_metadata(service_wheel)
    assert (client["Name"], service["Name"]) == ("archetype-client", "archetype-service")
    assert client["Version"] == service["Version"] == VERSION


def test_the_wheel_of_the_client_has_every_file_of_its_package(client_wheel: Path) -> None:
    assert list_files(client_wheel) == list_sources(ROOT / "sdk", "archetype")
    assert "archetype/py.typed" in list_files(client_wheel)


def test_the_wheel_of_the_service_has_every_file_of_its_packages(service_wheel: Path) -> None:
    """Templates, static files, Lua scripts, the catalogue and weights included."""
    files = list_files(service_wheel)
    assert files == list_sources(ROOT, *PACKAGES)
    assert {Path(name).suffix for name in files} >= {".py", ".html", ".css", ".js", ".lua", ".toml", ".safetensors"}


def test_the_client_alone_is_imported_quickly_and_loads_nothing_of_the_service(environment: Path) -> None:
    runs = []
    for _ in range(3):
        done = run_alone(environment / "python", "-I", "-c", IMPORT)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    assert Path(runs[0]["file"]).is_relative_to(environment.parent)
    assert (Path(runs[0]["file"]).parent / "py.typed").is_file()
    assert runs[0]["installed"] == []
    assert not {*SERVER_MODULES, *SLOW_MODULES} & set(runs[0]["loaded"])
    assert min(run["seconds"] for run in runs) < cpu_limit(IMPORT_SECONDS)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_of_the_client_alone_starts_quickly(environment: Path, option: str) -> None:
    seconds = []
    for _ in range(3):
        done = run_alone(environment / "python", "-I", "-c", START, environment / "archetype", option)
        assert done.returncode == 0, done.stderr
        seconds.append(float(done.stdout))
    assert min(seconds) < cpu_limit(START_SECONDS)


def test_the_command_line_of_the_client_alone_runs(environment: Path) -> None:
    archetype = environment / "archetype"
    assert run_alone(archetype, "--version").stdout == f"archetype {VERSION}\n"
    assert run_alone(environment / "python", "-m", "archetype", "--version").stdout == f"archetype {VERSION}\n"
    assert "class-model" in run_alone(archetype, "submit", "--help").stdout
    failed = run_alone(archetype, "--url", "http://127.0.0.1:9", "jobs", "list", "--json")
    assert (failed.returncode, json.loads(failed.stdout)["title"]) == (1, "The service does not answer")
    failed = run_alone(archetype, "jobs", "list", "--unknown", "--json")
    assert (failed.returncode, "--unknown" in json.loads(failed.stdout)["detail"]) == (2, True)
