"""`from archetype import Client`: what is public, what it costs, and what it does not load."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import archetype
from archetype.version import VERSION
from tests.support.cpu_time import cpu_limit

CPU_SECONDS = 0.4
NOT_LOADED = {"celery", "redis", "boto3", "numpy", "torch", "typer", "rich", "flask", "shared", "api", "worker"}
PROGRAM = """
import json, resource, sys
from archetype import Client, ClassModel
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": usage.ru_utime + usage.ru_stime, "modules": sorted(sys.modules)}))
"""


def test_every_public_name_can_be_imported_and_is_known_to_type_checkers() -> None:
    tree = ast.parse(Path(archetype.__file__).read_text())
    (branch,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        (alias.name, node.module) for node in branch.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert typed == set(archetype._MODULES.items())  # type: ignore[attr-defined]
    for name in archetype.__all__:
        assert getattr(archetype, name) is not None
    assert set(archetype.__all__) <= set(dir(archetype))
    assert archetype.__version__ == VERSION


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Klient'"):
        archetype.Klient  # type: ignore[attr-defined]  # noqa: B018


def test_the_contract_loads_no_http_client() -> None:
    program = (
        "import sys, archetype.contract.request; print('httpx2' in sys.modules, 'archetype.client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_client_is_imported_quickly_and_without_what_it_does_not_need() -> None:
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, timeout=60, check=True).stdout)
        for _ in range(3)
    ]
    assert not NOT_LOADED & {name.partition(".")[0] for name in runs[0]["modules"]}
    assert min(run["seconds"] for run in runs) < cpu_limit(CPU_SECONDS)


def test_the_client_imports_documents_of_audits_on_first_use() -> None:
    program = (
        "import sys; from archetype import Client; print('archetype.contract.audit' in sys.modules)\n"
        "from archetype import contract; print(contract.audit.NewAudit.__name__, contract.schedule.Schedule.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "NewAudit", "Schedule"]
