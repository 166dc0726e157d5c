"""A newer version of the service: a copy of this one with an optional parameter more, run beside this one."""

import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from deploy.local import API, WORKER, Stack, make_environment
from deploy.servers import HOST, free_port
from tests.support.paths import ROOT

PLACE = "    preset: Preset = Field("
NOVELTY = '    novelty: float = Field(default=0.0, ge=0, description="What only the newer version has.")\n'

NEWER_WORKER = "newer-worker"


def copy_newer(folder: Path) -> Path:
    """Writes the code of the newer version into a folder that does not exist yet."""
    for package in ("sdk", "shared", "api", "worker", "deploy"):
        shutil.copytree(ROOT / package, folder / package)  # with what is compiled
    parameters = folder / "sdk" / "archetype" / "contract" / "parameters" / "class_model.py"
    assert parameters.read_text().count(PLACE) == 1
    parameters.write_text(parameters.read_text().replace(PLACE, NOVELTY + PLACE))
    return folder


@contextmanager
def run_newer_worker(stack: Stack, code: Path) -> Iterator[None]:
    """Runs a worker of the newer version beside the stack."""
    with _run_newer(stack, code, NEWER_WORKER, [*WORKER, "--hostname", "newer@%h"]):
        yield


@contextmanager
def run_newer_api(stack: Stack, code: Path) -> Iterator[str]:
    """Runs an API of the newer version beside the stack; yields its URL."""
    url = f"http://{HOST}:{(port := free_port())}"
    with _run_newer(stack, code, "newer-api", [*API, "--bind", f"{HOST}:{port}"]):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        stack.processes.wait_for("newer-api", lambda: opener.open(f"{url}/readyz", timeout=5).close())
        yield url


@contextmanager
def _run_newer(stack: Stack, code: Path, name: str, command: list[str]) -> Iterator[None]:
    env = make_environment(stack.settings)
    env["PYTHONPATH"] = f"{code}:{code / 'sdk'}:{env['PYTHONPATH']}"
    try:
        with stack.processes.run(name, command, env):
            yield
    finally:
        stack.processes.children.pop(name, None)  # it is no longer a part of the stack


def post(url: str, body: dict[str, Any]) -> httpx2.Response:
    """Submits a job that the client of this version may not know."""
    return httpx2.post(f"{url}/v1/jobs", json=body, timeout=60)
