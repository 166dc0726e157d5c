"""The Python client against a running service: it has every call of the API, and its answers are typed."""

import ast
import re
import urllib.request
from pathlib import Path

import pytest

import archetype.client
from api.app import create_app
from archetype import Client, JobCancelled, JobFailed, NoConnection, NotFound, State, TimedOut, Unauthorized
from archetype.contract.request import REQUEST
from deploy.local import Stack
from shared.settings import Settings
from tests.support.paths import PICTURES

PICTURE = PICTURES / "bee.png"
FOR_ORCHESTRATORS = {("GET", "/healthz")}
"""Called by what starts and stops the process, not by users of the service."""

FOR_REGISTRIES = {("POST", "/v1/registry/mlflow")}
"""Called and signed by a model registry."""

FOR_KSERVE = {
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/{}"),
    ("GET", "/v2/models/{}/ready"),
    ("POST", "/v2/models/{}/explain"),
}
"""The second version of a protocol, for clients that speak it; `explain` uses the first."""

FOLLOWED_LINKS = {("GET", "/v1/jobs/{}/artifacts/{}")}
"""A job names the addresses of its artifacts; the client does not build them."""

SENDING = ("read", "read_fields", "request", "pages")
"""Methods of the transport that send a request. `pages` takes no HTTP method: it is always GET."""


def test_the_client_has_every_call_of_the_api() -> None:
    paths = create_app(Settings()).extensions["openapi"]()["paths"]
    described = {(method.upper(), _blank(path)) for path, methods in paths.items() for method in methods}
    assert _list_calls() == described - FOR_ORCHESTRATORS - FOR_REGISTRIES - FOR_KSERVE - FOLLOWED_LINKS


def _list_calls() -> set[tuple[str, str]]:
    """HTTP methods and paths in the source of the client."""
    calls: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(Path(archetype.client.__file__).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SENDING:
            texts = [text for argument in node.args for text in _list_texts(argument)]
            methods = [text for text in texts if text in ("GET", "POST", "DELETE")] or ["GET"]
            calls |= {(method, path) for method in methods for path in texts if path.startswith("/")}
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "path":
            calls |= {("GET", path) for path in _list_texts(node.value)}
    return calls


def _list_texts(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _list_texts(node.body) + _list_texts(node.orelse)
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)]
    return [str(node.value)] if isinstance(node, ast.Constant) else []


def _blank(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_an_uploaded_image_is_downloaded_unchanged(client: Client) -> None:
    image = client.upload(PICTURE.read_bytes(), PICTURE.name)
    assert client.image(image.id) == PICTURE.read_bytes()
    assert client.picture(image.id) == PICTURE.read_bytes()  # the former name


def test_an_artifact_can_be_fetched_from_the_object_store(client: Client) -> None:
    request = REQUEST.validate_python({"method": "filters", "model": "shapes"})
    artifact = client.wait(client.submit(request).id, timeout=400).artifacts[0]
    with urllib.request.urlopen(client.location(artifact), timeout=10) as answer:
        assert answer.read() == client.fetch(artifact)


def test_health_and_metrics_are_read(client: Client) -> None:
    assert client.health() == {"redis": "ok", "object store": "ok"}
    assert "archetype_jobs" in client.metrics()


def test_no_service_raises_no_connection() -> None:
    with Client("http://127.0.0.1:9", timeout=1) as client, pytest.raises(NoConnection, match="is the service running"):
        client.health()


def test_a_wrong_key_raises_unauthorized(stack: Stack) -> None:
    with Client(stack.url, key="wrong") as client, pytest.raises(Unauthorized) as refused:
        client.metrics() and list(client.jobs())
    assert refused.value.problem is not None
    assert refused.value.problem.status == 401


def test_an_unknown_job_raises_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        client.handle("01k9v0m2q7gq5n9w3t8yx4r6zs")


def test_a_class_model_is_submitted_waited_for_and_saved(client: Client, tmp_path: Path) -> None:
    job = client.class_model("shapes", ["lemon"], steps=4, tags=["handles"]).wait(timeout=400)
    paths = job.save(tmp_path / "images")
    assert {path.name for path in paths} >= {"0000-lemon.png", "contact-sheet.png"}
    assert all(path.parent == tmp_path / "images" and path.stat().st_size for path in paths)
    assert (job.state, job.error, job.progress.done) == (State.SUCCEEDED, None, 4)
    assert "data:image/png;base64," in job._repr_html_()
    assert job.id in [found.id for found in client.jobs(tag="handles")]


def test_images_are_uploaded_by_path_by_bytes_and_by_id(client: Client) -> None:
    image_id = client.upload((PICTURES / "lemon.png").read_bytes()).id
    images = [PICTURE, str(PICTURES / "goldfish.png"), (PICTURES / "sailing-boat.png").read_bytes(), image_id]
    job = client.saliency("shapes", images, top=1, kind="gradient").wait(timeout=400)
    assert {artifact.image for artifact in job.artifacts if artifact.image} >= {image_id}
    assert job.progress.total == 4


def test_a_wait_that_is_too_short_raises_timed_out(client: Client) -> None:
    job = client.class_model("slow", ["one"], steps=1000)
    with pytest.raises(TimedOut, match="has not ended") as late:
        job.wait(timeout=0)
    assert isinstance(late.value, TimeoutError)
    job.cancel()
    with pytest.raises(JobCancelled):
        job.wait(timeout=400)


def test_a_failed_job_raises_job_failed_unless_told_not_to(client: Client) -> None:
    job = client.class_model("slow", ["one"], steps=1000, cancel_after="1s").wait(timeout=400, raise_on_failure=False)
    assert job.state in (State.FAILED, State.CANCELLED)
    with pytest.raises(JobFailed if job.state is State.FAILED else JobCancelled) as failed:
        job.wait()
    assert failed.value.problem == job.error
