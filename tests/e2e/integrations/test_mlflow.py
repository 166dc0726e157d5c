"""MLflow itself: versions of every kind are imported or refused, and none is lost or audited twice under faults."""

import json
import random
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from pydantic import SecretStr

from archetype.client import Client
from archetype.contract.schedule import NewSchedule, WriteBack
from deploy.demos.mlflow_demo import PYTHON, MlflowServer, announce_to, run_mlflow
from deploy.local import Stack, free_port, run_stack
from deploy.processes import ProcessGroup
from shared.settings import Settings
from shared.validation.imports import ImportRule
from shared.validation.write_back import WriteBackRule
from tests.support.audit_plans import write_plan
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="needs MLflow: make integrations"),
    pytest.mark.timeout(3000),
]

VERSIONS = 50
OTHER_MODELS = ("program", "onnx")
"""Ways to log a network whose versions are those of other registered models."""

FIELDS = {"architecture": "factory:small", "classes": ["apple", "lemon", "pear"], "preprocessing": {"size": [28, 28]}}


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MlflowServer, ProcessGroup]]:
    with run_mlflow(tmp_path_factory.mktemp("mlflow"), free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, mlflow: tuple[MlflowServer, ProcessGroup]) -> Iterator[Stack]:
    """A stack that imports the versions of two models, and writes what became of them."""
    server, _ = mlflow
    fruit = FIELDS | {"name": "fruit", "arguments": {"channels": 3}}
    program = {
        "name": "program",
        "architecture": "program",
        "classes": FIELDS["classes"],
        "preprocessing": {"size": [28, 28]},
    }
    settings = Settings(
        factories={"small": "tests.support.networks:small"},
        mlflow_url=server.url,
        mlflow_secret=SecretStr(token_hex(16)),
        mlflow_models={
            "Fruit": ImportRule(register_as=fruit),
            "Program": ImportRule(register_as=program),
            "Graph": ImportRule(register_as=program | {"name": "graph", "architecture": "onnx"}),
            "Many": ImportRule(register_as=fruit | {"name": "many"}),
        },
        mlflow_write_back={
            "default": [WriteBackRule(models=["*"], aliases=["audited"], tag_prefixes=["archetype."], runs=True)]
        },
        exported_programs=True,
        scheduler_poll_seconds=1,
        lease_seconds=3,
        sweep_seconds=0.5,
    )
    with run_stack(tmp_path_factory.mktemp("stack"), settings) as running:
        announce_to(running, server)
        yield running


def tags(server: MlflowServer, model: str) -> dict[str, dict[str, str]]:
    return {version: each["tags"] for version, each in server.show(model)["versions"].items()}


def test_a_network_is_imported_however_it_was_logged_unless_it_is_code(
    stack: Stack, mlflow: tuple[MlflowServer, ProcessGroup]
) -> None:
    server, _ = mlflow
    program = Path(__file__).with_name("mlflow_kinds.py")
    command = [str(PYTHON), str(program), server.url, sysconfig.get_paths()["purelib"], str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    versions = json.loads(done.stdout.splitlines()[-1])
    wait_until(lambda: sum("archetype.import" in each for each in tags(server, "Fruit").values()) == 4, 400)
    found = tags(server, "Fruit")
    states = {
        kind: found[version]["archetype.import"] for kind, version in versions.items() if kind not in OTHER_MODELS
    }
    assert states == {"state dict": "registered", "safetensors": "registered", "pt2": "refused", "pickle": "refused"}
    assert "mlflow.pytorch.log_state_dict" in found[versions["pickle"]]["archetype.import.detail"]
    assert "'program'" in found[versions["pt2"]]["archetype.import.detail"]
    for model in ("Program", "Graph"):
        wait_until(lambda model=model: "archetype.import" in tags(server, model)["1"], 400)
        assert tags(server, model)["1"]["archetype.import"] == "registered", tags(server, model)
    with Client(stack.url) as client:
        assert {"fruit", "program", "graph"} <= {model["name"] for model in client.models()}


@pytest.mark.slow
def test_fifty_versions_get_one_verdict_each_while_parts_are_killed(
    stack: Stack, mlflow: tuple[MlflowServer, ProcessGroup], tmp_path: Path
) -> None:
    server, registry_processes = mlflow
    chance = random.Random(5)
    with Client(stack.url, timeout=120) as client:
        log_version(server, tmp_path, 1)
        wait_until(lambda: any(model["name"] == "many" for model in client.models()), 400)
        plan = write_plan(
            client,
            name="many",
            baselines=["many@1"],
            classes=["apple"],
            probes=[],
            class_models={"steps": 2, "extras": False},
        )
        target = WriteBack(registered_model="Many", alias="audited", run=True)
        client.schedule(NewSchedule.model_validate({"model": "many", "plan": plan, "write_back": target.model_dump()}))
    for number in range(2, VERSIONS + 1):
        log_version(server, tmp_path, number)
        if number % 5 == 0:
            victim, group = chance.choice(
                [("mlflow", registry_processes), *((name, stack.processes) for name in ("api", "worker", "scheduler"))]
            )
            group.kill(victim)
            group.start(victim)
            if victim == "mlflow":
                registry_processes.wait_for("mlflow", server.check)

    def count() -> int:
        return sum("archetype.verdict" in each for each in tags(server, "Many").values())

    wait_until(lambda: count() == VERSIONS, 2400, message=lambda: str(count()))
    with Client(stack.url, timeout=120) as client:
        audits = Counter(job.model for job in client.jobs(method="audit") if job.model.startswith("many@"))
    assert set(audits.values()) == {1}
    assert len(audits) == VERSIONS
    assert {each["archetype.import"] for each in tags(server, "Many").values()} == {"registered"}


def log_version(server: MlflowServer, folder: Path, number: int) -> None:
    """Logs a network whose weights differ from those of all other versions."""
    import torch
    from safetensors.torch import save_file

    from tests.support.networks import Small

    torch.manual_seed(number)
    path = folder / "model.safetensors"
    save_file(Small(classes=3).state_dict(), path)
    server.call("version", "Many", str(path))
