"""Releases: operators register them, a worker tests them, and they never change."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from safetensors.torch import save

from api.app import create_app
from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import ClassModel
from deploy.local import Stack
from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.registered import RegisteredReleases
from shared.catalogue.release import Release
from shared.settings import Settings
from shared.storage.documents import Registration, RegistrationState
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.networks import Small, seeded
from tests.support.onnx_models import export
from tests.support.releases import ENTRY, STATE
from tests.support.waiting import wait_until


@pytest.fixture
def http(stack: Stack):
    token = stack.settings.operator_token.get_secret_value()
    with httpx2.Client(base_url=stack.url, timeout=90, headers={"Authorization": f"Bearer {token}"}) as connected:
        yield connected


def upload(http: httpx2.Client, data: bytes) -> str:
    answer = http.post("/v1/weights", files={"file": ("weights", data)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def pickled(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_working_release_is_accepted_and_can_be_used_immediately(http: httpx2.Client, client: Client) -> None:
    parallel = {"state_dict": {f"module.{name}": value for name, value in STATE.items()}}
    for release, data in (("1", save(STATE)), ("2", pickled(parallel))):
        answer = http.post("/v1/models", json=ENTRY | {"release": release, "upload": upload(http, data)})
        assert answer.status_code == 201, answer.text
        assert answer.headers["Location"] == f"/v1/models/mine@{release}"
    model = client.model("mine")
    assert [release["release"] for release in model["releases"]] == ["1", "2"]
    assert model["release"] == "2"
    assert client.model("mine@1")["release"] == "1"
    layers = {layer["name"]: layer for layer in model["layers"]}
    assert (layers["features.4"]["kind"], layers["features.4"]["shape"]) == ("Conv2d", [8, 4, 4])
    request = ClassModel(method="class_model", model="mine", targets=["two"], params={"steps": 2})
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    assert job.model == "mine@2"


def test_a_registered_release_cannot_be_replaced(http: httpx2.Client) -> None:
    body = ENTRY | {"name": "fixed", "upload": upload(http, save(STATE))}
    assert http.post("/v1/models", json=body).status_code == 201
    for again in (body, body | {"classes": ["a", "b", "c"]}, body | {"name": "shapes"}):
        answer = http.post("/v1/models", json=again)
        assert answer.status_code == 409
        assert "never change" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content", [{0: torch.zeros(1)}, {"a": 1}, [1], torch.zeros(3)], ids=["keys", "values", "list", "tensor"]
)
def test_weights_that_are_not_a_state_dict_are_refused(http: httpx2.Client, content: object) -> None:
    answer = http.post("/v1/models", json=ENTRY | {"name": "odd", "upload": upload(http, pickled(content))})
    assert answer.status_code == 422
    assert "no state dict" in answer.json()["detail"]


def test_a_release_with_invalid_unicode_is_refused(http: httpx2.Client) -> None:
    body = json.dumps(ENTRY | {"name": "half", "upload": upload(http, save(STATE)), "arguments": {"a": "\ud800"}})
    answer = http.post("/v1/models", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def find_refusal(http: httpx2.Client, model: str) -> dict[str, Any] | None:
    """The registration of a release, if it was refused."""
    found = [each for each in http.get("/v1/registrations").json()["items"] if each["model"] == model]
    return found[0] if found and found[0]["state"] == "refused" else None


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "classes": ({"classes": ["a", "b"]}, "3 scores for 2"),
    "architecture": ({"architecture": "factory:none", "arguments": {}}, "no factory 'none'"),
    "arguments": ({"arguments": {"depth": 2}}, "cannot be built"),
    "weights": ({"architecture": "torchvision:squeezenet1_0", "arguments": {}}, "missing"),
    "channels": (
        {"preprocessing": {"size": [16, 16], "mean": [0.5], "std": [0.5]}},
        "does not work with images of 1×16×16",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_release_that_does_not_work_is_refused_with_the_reason_and_can_be_corrected(
    http: httpx2.Client, case: str
) -> None:
    change, reason = REFUSED[case]
    digest = upload(http, save(STATE))
    answer = http.post("/v1/models", json=ENTRY | {"name": f"bad-{case}", "upload": digest} | change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "/problems/refused-release"
    assert reason in answer.json()["detail"]
    assert http.get(f"/v1/models/bad-{case}").status_code == 404
    refusal = wait_until(lambda: find_refusal(http, f"bad-{case}@1"), 10)
    assert reason in refusal["error"]["detail"]
    corrected = ENTRY | {"name": f"bad-{case}", "upload": digest}
    assert http.post("/v1/models", json=corrected).status_code == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"upload": "0" * 64}, "/upload"),
        ({"key": "jobs/x"}, "/key"),
        ({"key": "exports/none"}, "/key"),
        ({"upload": "0" * 64, "published": True}, ""),
        ({"upload": "0" * 64, "sha256": "1" * 64}, ""),
        ({}, ""),
        ({"upload": "0" * 64, "weights": "/etc/passwd"}, "/weights"),
        ({"upload": "0" * 64, "architecture": "os:system"}, "/architecture"),
        ({"upload": "0" * 64, "name": "../x"}, "/name"),
        ({"upload": "0" * 64, "classes": "flowers"}, "/classes"),
        ({"upload": "0" * 64, "preprocessing": {"size": [16, 16], "range": [1, 0]}}, "/preprocessing"),
    ],
)
def test_a_wrong_entry_of_a_release_is_refused_with_the_field(
    http: httpx2.Client, change: dict[str, Any], field: str
) -> None:
    answer = http.post("/v1/models", json=ENTRY | {"name": "wrong"} | change)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_weights_under_an_allowed_prefix_of_the_store_can_be_registered(http: httpx2.Client, stack: Stack) -> None:
    Bucket(stack.settings).put("exports/small.safetensors", save(STATE), media_type="application/octet-stream")
    answer = http.post("/v1/models", json=ENTRY | {"name": "keyed", "key": "exports/small.safetensors"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["releases"][0]["sha256"]


def test_only_operators_register_releases_and_upload_weights(stack: Stack) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic abc"}):
        for answer in (
            httpx2.post(f"{stack.url}/v1/models", json=ENTRY, headers=headers),
            httpx2.post(f"{stack.url}/v1/weights", files={"file": b"x"}, headers=headers),
        ):
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_operator_token_is_never_accepted(blank: str) -> None:
    app = create_app(Settings(operator_token=blank))
    for header in ("Bearer ", "Bearer", f"Bearer {blank}"):
        answer = app.test_client().post("/v1/models", json=ENTRY, headers={"Authorization": header})
        assert answer.status_code == 401


def test_a_release_that_another_process_registered_is_found_by_its_name(stack: Stack) -> None:
    now = 100.0
    storage = JobStore(Bucket(stack.settings))
    registered_releases = RegisteredReleases(storage, clock=lambda: now)
    catalogue = load_catalogue(None, registered_releases)
    assert "elsewhere" not in catalogue.names
    entry = Release(name="elsewhere", architecture="factory:small", classes=["a", "b", "c"])
    storage.save_registration(Registration(entry=entry, state=RegistrationState.ACCEPTED))
    now += 1
    assert catalogue.find("elsewhere@1") == entry
    now += 1
    assert "elsewhere" in catalogue.names


def test_an_exported_program_is_loaded_if_the_operator_allows_it(
    http: httpx2.Client, client: Client, tmp_path: Path
) -> None:
    batch = torch.export.Dim("batch", min=2)
    network = seeded(Small, classes=3).eval()
    program = torch.export.export(network, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=[{0: batch}])
    torch.export.save(program, tmp_path / "small.pt2")
    body = {name: value for name, value in ENTRY.items() if name != "arguments"}
    body |= {
        "name": "program",
        "architecture": "program",
        "upload": upload(http, (tmp_path / "small.pt2").read_bytes()),
    }
    answer = http.post("/v1/models", json=body)
    assert answer.status_code == 201, answer.text
    request = ClassModel(method="class_model", model="program", targets=[1], params={"steps": 2})
    assert client.wait(client.submit(request).id, timeout=400).state is State.SUCCEEDED


def add_with_command(stack: Stack, folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Runs `archetype models add` with three class names and an input of 16 pixels."""
    (folder / "classes.txt").write_text("one\ntwo\nthree\n")
    program = [Path(sys.executable).with_name("archetype"), "--url", stack.url, "models", "add", *arguments]
    command = [*program, "--classes", folder / "classes.txt", "-p", "size=[16,16]"]
    token = stack.settings.operator_token.get_secret_value()
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=120, check=False,
        env={"ARCHETYPE_KEY": token, "PATH": ""},
    )  # fmt: skip


def test_an_onnx_file_is_registered_with_one_command_and_does_what_the_network_does(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    network = seeded(Small, classes=3).eval()
    path = export(network, tmp_path / "small.onnx", torch.zeros(2, 3, 16, 16), external_data=True)
    done = add_with_command(stack, tmp_path, "from-onnx", "--architecture", "onnx", "--weights", path)
    assert done.returncode == 0, done.stderr
    assert "outputs of random images are those of onnxruntime" in done.stdout
    request = ClassModel(method="class_model", model="from-onnx", targets=[1], params={"steps": 2})
    assert client.wait(client.submit(request).id, timeout=400).state is State.SUCCEEDED


def test_a_release_is_registered_with_one_command(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    path.write_bytes(save(STATE))
    factory = ("--architecture", "factory:small", "-a", "channels=3")
    done = add_with_command(stack, tmp_path, "commanded", "--release", "2026", *factory, "--weights", path)
    assert done.returncode == 0, done.stderr
    assert "commanded@2026 works: 3 classes" in done.stdout
