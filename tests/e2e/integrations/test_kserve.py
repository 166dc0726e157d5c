"""Archetype as the explainer of a KServe InferenceService: the example's proxy, and KServe's own client."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from archetype.client import Client
from archetype.contract.api_key import Scope
from deploy.local import Stack, free_port
from deploy.processes import ProcessGroup
from deploy.servers import find_tool
from tests.support.callers import issue_token
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

MANIFEST = ROOT / "deploy" / "kubernetes" / "kserve.example.yaml"
IMAGE = ROOT / "deploy" / "pictures" / "bee.png"
PAGE = ROOT / "docs" / "integrations" / "kserve.md"
CLIENT = Path(__file__).with_name("kserve_client.py")
PYTHON = ROOT / ".venv-integrations" / "bin" / "python"


def read_blocks(page: Path, language: str) -> list[str]:
    """The blocks of code of a page in a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [block for name, block in blocks if name == language]


@pytest.fixture(scope="module")
def loaded(client: Client) -> None:
    """The worker has loaded the network."""
    client.wait(client.saliency("shapes", [IMAGE]).id, timeout=400)


@pytest.fixture(scope="module")
def container() -> dict[str, Any]:
    """The container of the example's explainer."""
    documents = {document["kind"]: document for document in yaml.safe_load_all(MANIFEST.read_text())}
    (found,) = documents["InferenceService"]["spec"]["explainer"]["containers"]
    return found | {"caddyfile": documents["ConfigMap"]["data"]["Caddyfile"]}


@pytest.fixture
def explainer(container: dict[str, Any], stack: Stack, tmp_path: Path) -> Iterator[str]:
    """The explainer of the example, run by its own command with the arguments that KServe appends; its address."""
    port = free_port()
    (tmp_path / "Caddyfile").write_text(container["caddyfile"].replace(":8080 {", f":{port} {{\nbind 127.0.0.1"))
    (tmp_path / "log").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "caddy").symlink_to(find_tool("caddy"))
    assert stack.settings.operator_token is not None
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as operator:
        key = issue_token(operator, "default", scopes=[Scope.READ, Scope.SUBMIT])
    env = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "ARCHETYPE_URL": stack.url,
        "ARCHETYPE_KEY": key,
    }
    command = [part.replace("/config", str(tmp_path)) for part in container["command"]]
    processes = ProcessGroup(tmp_path, env)
    with processes.run("explainer", [*command, "--model_name", "shapes", "--http_port", "8080"]):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(f"{url}{container['readinessProbe']['httpGet']['path']}"), 60)
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def test_the_explainer_of_the_example_explains_with_its_key(explainer: str) -> None:
    body = {"instances": [{"b64": base64.b64encode(IMAGE.read_bytes()).decode()}]}

    def find_answer() -> dict[str, Any] | None:
        answer = httpx2.post(f"{explainer}/v1/models/shapes:explain", json=body, timeout=120)
        assert answer.status_code in (200, 503), answer.text
        return answer.json() if answer.status_code == 200 else None

    answer = wait_until(find_answer, 400)
    assert answer is not None
    assert answer["predictions"][0]["name"] == "bee"
    for path in ("/v1/keys", "/v1/jobs", "/v1/models", "/v1/models/shapes/atlas", "/"):
        assert httpx2.get(f"{explainer}{path}").status_code == 404  # its key is for nothing else


@pytest.mark.parametrize("command", read_blocks(PAGE, ""))
def test_a_request_of_the_page_is_answered(stack: Stack, loaded: None, command: str) -> None:
    line = command.replace("http://127.0.0.1:8080", stack.url).replace("curl ", "curl --silent --fail-with-body ")
    printed = subprocess.run(["bash", "-c", line], capture_output=True, cwd=ROOT, text=True, timeout=60, check=True)
    assert "bee" in printed.stdout


needs_kserve = pytest.mark.skipif(not PYTHON.exists(), reason="needs KServe's client: make integrations")


@needs_kserve
def test_kserves_own_client_gets_an_explanation_as_the_page_says(explainer: str, loaded: None) -> None:
    (program,) = read_blocks(PAGE, "python")
    assert run_python(program.replace("http://127.0.0.1:8080", explainer)).startswith("[{'index': ")


@needs_kserve
def test_kserves_own_client_finds_server_and_model_ready(explainer: str, loaded: None) -> None:
    answers = json.loads(run_python(CLIENT.read_text(), explainer, "shapes"))
    assert len(answers) == 4
    assert all(answers.values()), answers


def run_python(program: str, *arguments: str) -> str:
    """What a program prints in the environment that has KServe's client."""
    command = [str(PYTHON), "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
