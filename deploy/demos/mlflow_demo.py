"""The demo of `make demo-mlflow`: versions of a model in MLflow are imported, audited, and get their verdicts.

It starts an MLflow server and the service, and logs four versions of the built-in network: the first one, one that was
trained with another seed, one with a shortcut, and a pickled module, which is refused. `versions` of MLflow ends with
their verdicts in tags, an alias, and reports among the artifacts of their runs.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch
from pydantic import SecretStr
from safetensors.torch import load_file

from archetype.client import Client
from archetype.contract.audit_plan import AuditPlan
from archetype.contract.schedule import NewSchedule, WriteBack
from deploy.audit_demo import FIRST, RELEASES, make_plan
from deploy.command import run_command
from deploy.local import Stack, run_stack
from deploy.processes import ProcessGroup
from deploy.servers import HOST, free_port
from shared.settings import Settings
from shared.validation.imports import ImportRule
from shared.validation.write_back import WriteBackRule
from worker.shapes.drawing import CLASSES

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-integrations" / "bin" / "python"
LOG = Path(__file__).with_name("mlflow_log.py")
REGISTERED_MODEL, MODEL = "Drawings", "drawings-mlflow"
ALIAS = "audited"
START_SECONDS, CALL_SECONDS, AUDIT_SECONDS, PAUSE_SECONDS = 120, 120, 1800, 5.0
DEMO_PROBES = range(0, 60, 2)


@dataclass(frozen=True)
class MlflowServer:
    """A running MLflow server.

    Attributes:
        url: Its address.
    """

    url: str

    def check(self) -> None:
        """Raises `OSError` until the server answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"{self.url}/health", timeout=5).close()

    def call(self, *arguments: str) -> str:
        """Runs `mlflow_log.py` with MLflow's own client, and returns what it prints. Raises `RuntimeError`."""
        command = [str(PYTHON), str(LOG), self.url, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CALL_SECONDS, check=False, env=_quiet())
        if done.returncode:
            raise RuntimeError(f"MLflow's client failed: {done.stderr.strip()[-500:]}")
        return done.stdout

    def show(self, model: str = REGISTERED_MODEL) -> dict[str, Any]:
        """Returns tags, run and metrics of each version, and the aliases."""
        return dict(json.loads(self.call("show", model).splitlines()[-1]))


def _quiet() -> dict[str, str]:
    """The environment of processes of MLflow, which would otherwise send figures about its use."""
    return {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}


def mlflow_command(folder: Path, port: int) -> list[str]:
    """Returns the command of an MLflow server that passes on its artifacts."""
    database, artifacts = f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"
    command = [str(PYTHON), "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    return [*command, "--backend-store-uri", database, "--serve-artifacts", "--artifacts-destination", str(artifacts)]


@contextmanager
def run_mlflow(folder: Path, port: int) -> Iterator[tuple[MlflowServer, ProcessGroup]]:
    """Runs an MLflow server whose webhooks may go to this machine.

    Raises:
        RuntimeError: MLflow is not installed, or does not start.
    """
    if not PYTHON.exists():
        raise RuntimeError("MLflow is not installed in .venv-integrations; run: make demo-mlflow")
    (folder / "log").mkdir(parents=True, exist_ok=True)
    (folder / "artifacts").mkdir(exist_ok=True)
    key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # pragma: allowlist secret (of a server on this machine)
    local = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    env = _quiet() | local | {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": key}
    processes = ProcessGroup(folder, env)
    server = MlflowServer(f"http://{HOST}:{port}")
    with processes.run("mlflow", mlflow_command(folder, port)):
        processes.wait_for("mlflow", server.check)
        yield server, processes


def make_settings(server_url: str) -> Settings:
    """Returns the settings of a service that imports the versions of the demo."""
    register_as = {
        "name": MODEL,
        "architecture": "factory:drawings",
        "classes": list(CLASSES),
        "preprocessing": {"size": [80, 80], "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    rule = WriteBackRule(models=[REGISTERED_MODEL], aliases=[ALIAS], tag_prefixes=["archetype."], runs=True)
    return Settings(
        factories={"drawings": "worker.shapes.network:ShapesNetwork"},
        mlflow_url=server_url,
        mlflow_secret=SecretStr(token_hex(16)),
        mlflow_models={REGISTERED_MODEL: ImportRule(register_as=register_as)},
        mlflow_write_back={"default": [rule]},
        scheduler_poll_seconds=1,
    )


def write_versions(folder: Path) -> dict[str, tuple[Path, str]]:
    """Writes the files of the versions; returns each with the folder in which it is logged."""
    folder.mkdir(parents=True, exist_ok=True)
    first, pickled = folder / "state_dict.pth", folder / "model.pth"
    torch.save(load_file(FIRST), first)
    pickled.write_bytes(pickle.dumps(print))
    return {
        "the first version, as a state dict": (first, "weights"),
        "trained with another seed, as safetensors": (RELEASES / "v2.safetensors", "weights"),
        "with a shortcut for daisy, as safetensors": (RELEASES / "v3.safetensors", "weights"),
        "a pickled module": (pickled, "model/data"),
    }


def announce_to(stack: Stack, server: MlflowServer) -> None:
    """Tells MLflow to announce new versions to a service."""
    words = stack.settings.mlflow_secret
    server.call("webhook", f"{stack.url}/v1/registry/mlflow", words.get_secret_value() if words else "")


def schedule(client: Client, plan: AuditPlan) -> None:
    """Audits every new version, and writes its verdict, figures and report to MLflow."""
    target = WriteBack(registered_model=REGISTERED_MODEL, alias=ALIAS, run=True)
    client.schedule(NewSchedule(model=MODEL, plan=plan, write_back=target))


def wait_for_tags(server: MlflowServer, versions: Sequence[str], *, seconds: float = AUDIT_SECONDS) -> dict[str, Any]:
    """Waits until each version has a verdict or is refused, and returns what MLflow knows of them.

    Raises:
        RuntimeError: A version has neither in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = server.show()
        tags = [shown["versions"].get(version, {}).get("tags", {}) for version in versions]
        if all("archetype.verdict" in each or each.get("archetype.import") == "refused" for each in tags):
            return shown
        time.sleep(PAUSE_SECONDS)
    raise RuntimeError(f"after {seconds:g} s, a version has neither a verdict nor a refusal: {shown}")


def run_demo(folder: Path, stack: Stack, server: MlflowServer) -> dict[str, Any]:
    """Logs the versions one after the other, and returns what MLflow knows of them at the end."""
    announce_to(stack, server)
    with Client(stack.url, timeout=120) as client:
        plan = make_plan(client, DEMO_PROBES)
        for number, (title, (file, place)) in enumerate(write_versions(folder).items(), 1):
            print(f"version {number}: {title}", flush=True)
            server.call("version", REGISTERED_MODEL, str(file), place)
            if number == 1:
                _wait_for_release(client)
                schedule(client, plan)
            shown = wait_for_tags(server, [str(number)])
            for name, value in sorted(shown["versions"][str(number)]["tags"].items()):
                print(f"    {name}: {value}", flush=True)
    return shown


def _wait_for_release(client: Client) -> None:
    end = time.monotonic() + START_SECONDS
    while not any(model["name"] == MODEL for model in client.models()):
        if time.monotonic() > end:
            raise RuntimeError(f"the first version was not imported within {START_SECONDS} s")
        time.sleep(1)


def main() -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("var/demo-mlflow"), help="folder for data")
    folder = parser.parse_args().folder.resolve()
    with (
        run_mlflow(folder / "mlflow", free_port()) as (server, _),
        run_stack(folder, make_settings(server.url)) as stack,
    ):
        shown = run_demo(folder / "versions", stack, server)
        print(f"aliases: {shown['aliases']}")
        print(f"Reports are among the artifacts of the runs, in {folder / 'mlflow' / 'artifacts'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
