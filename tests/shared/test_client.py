"""The Python client covers every call, and what it gives is typed."""

import ast
import urllib.request
from pathlib import Path

import pytest

import shared.client
from api.app import create_app
from deploy.local import Stack
from shared.client import Client, ServiceError
from shared.methods import REQUEST
from shared.settings import Settings

PICTURE = Path(__file__).parents[2] / "deploy" / "pictures" / "bee.png"
FOR_ORCHESTRATORS = {("GET", "/healthz")}
"""Asked by what starts and stops the process, not by its users."""

FOR_REGISTRIES = {("POST", "/v1/registry/mlflow")}
"""Signed by a registry, for itself."""

WITH_NAMES_OF_THEIR_OWN = {("GET", "/v1/jobs/{}/artifacts/{}")}
"""A job says where its artefacts are: the client follows that."""


def test_it_has_every_call_of_the_api() -> None:
    paths = create_app(Settings()).extensions["openapi"]["paths"]
    described = {(method.upper(), _blank(path)) for path, methods in paths.items() for method in methods}
    assert _calls() == described - FOR_ORCHESTRATORS - FOR_REGISTRIES - WITH_NAMES_OF_THEIR_OWN


def _calls() -> set[tuple[str, str]]:
    """Methods and paths in the client's source."""
    tree = ast.parse(Path(shared.client.__file__).read_text())
    found: set[tuple[str, str]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("_call", "_send"):
            methods = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
            found |= {(str(method), path) for method in methods for path in _texts(node.args[1])}
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "path":
            found |= {("GET", path) for path in _texts(node.value)}
    return {(method, path) for method, path in found if method in ("GET", "POST", "DELETE") and path.startswith("/")}


def _texts(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)]
    return [node.value] if isinstance(node, ast.Constant) else []


def _blank(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_a_picture_comes_back_as_it_was(client: Client) -> None:
    image = client.upload(PICTURE.read_bytes(), PICTURE.name)
    assert client.picture(image.id) == PICTURE.read_bytes()


def test_an_artefact_can_be_fetched_past_the_service(client: Client) -> None:
    request = REQUEST.validate_python({"method": "filters", "model": "shapes"})
    artifact = client.wait(client.submit(request).id, timeout=60).artifacts[0]
    with urllib.request.urlopen(client.location(artifact), timeout=10) as answer:
        assert answer.read() == client.fetch(artifact)


def test_it_says_how_the_service_is(client: Client) -> None:
    assert client.health() == {"redis": "ok", "object store": "ok"}
    assert "archetype_jobs" in client.metrics()


def test_a_service_that_is_not_there_is_said() -> None:
    with Client("http://127.0.0.1:9", timeout=1) as nobody, pytest.raises(ServiceError, match="is the service running"):
        nobody.health()


def test_a_key_that_is_not_good_is_said(stack: Stack) -> None:
    with Client(stack.url, key="wrong") as stranger, pytest.raises(ServiceError) as refused:
        stranger.metrics() and list(stranger.jobs())
    assert refused.value.problem is not None
    assert refused.value.problem.status == 401
