"""Hugging Face model folders are registered from their archives, with their own class names and preprocessing."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from PIL import Image

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import Saliency
from archetype.files import packed
from deploy.local import Stack
from tests.support.paths import PICTURES
from worker.engine.model.torchvision_import import import_torchvision

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers

NAMES = {0: "cat", 1: "dog", 2: "bee"}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image classifier that transformers saved, with its image processor."""
    import_torchvision()
    import transformers

    path = tmp_path_factory.mktemp("folder")
    labels = {"id2label": NAMES, "label2id": {name: index for index, name in NAMES.items()}}
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL, **labels)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        transformers.ViTForImageClassification(config).save_pretrained(path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    return path


@pytest.fixture
def http(stack: Stack):
    token = stack.settings.operator_token.get_secret_value()
    with httpx2.Client(base_url=stack.url, timeout=150, headers={"Authorization": f"Bearer {token}"}) as connected:
        yield connected


def register(http: httpx2.Client, folder: Path, **fields: Any) -> httpx2.Response:
    with packed(folder) as archive:
        upload = http.post("/v1/weights", files={"file": ("model.zip", archive.read_bytes())}).json()["id"]
    body = {"architecture": "huggingface", "upload": upload, **fields}
    return http.post("/v1/models", json=body, headers={"Prefer": "wait=120"})


def test_a_registered_folder_explains_an_image_by_its_own_class_names(
    http: httpx2.Client, client: Client, folder: Path
) -> None:
    answer = register(http, folder, name="hugging")
    assert answer.status_code == 201, answer.text
    model = client.model("hugging")
    assert model["class_names"] == list(NAMES.values())
    (release,) = model["releases"]
    assert (release["preprocessing"]["size"], release["preprocessing"]["fit"]) == ([32, 32], "stretch")
    assert release["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    layers = [layer["name"] for layer in model["layers"]]
    assert any(name.startswith("vit.") for name in layers)

    image = client.upload((PICTURES / "bee.png").read_bytes())
    request = Saliency(method="saliency", model="hugging", images=[image.id], targets=["bee"])
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    assert {artifact.target.name for artifact in job.artifacts if artifact.target} == {"bee"}
    assert_score_is_that_of_transformers(job.metrics["pairs"][0], folder)


def assert_score_is_that_of_transformers(pair: dict[str, Any], folder: Path) -> None:
    """Compares a score with that of transformers after its own image processor."""
    import transformers

    network = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    inputs = processor(images=Image.open(PICTURES / "bee.png").convert("RGB"), return_tensors="pt")
    with torch.no_grad():
        scores = network(**inputs).logits[0]  # (3,)
    assert pair["target"] == {"index": 2, "name": "bee"}
    assert pair["score"] == pytest.approx(float(scores[2]), abs=1e-5)
    assert pair["probability"] == pytest.approx(float(scores.softmax(0)[2]), abs=1e-5)


def test_fields_of_the_registration_go_before_those_of_the_folder(http: httpx2.Client, folder: Path) -> None:
    answer = register(http, folder, name="renamed", classes=["x", "y", "z"], output={"kind": "sigmoid_logits"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["class_names"] == ["x", "y", "z"]


def test_a_folder_with_another_number_of_class_names_is_refused(http: httpx2.Client, folder: Path) -> None:
    answer = register(http, folder, name="toofew", classes=["x"])
    assert answer.status_code == 422, answer.text


def test_an_archive_that_is_no_folder_is_refused_in_a_sentence(http: httpx2.Client) -> None:
    upload = http.post("/v1/weights", files={"file": ("x.zip", io.BytesIO(b"PK\x03\x04 no"))}).json()["id"]
    answer = http.post("/v1/models", json={"name": "broken", "architecture": "huggingface", "upload": upload})
    assert answer.status_code == 422
    assert "cannot be unpacked" in answer.json()["detail"]


def test_other_architectures_need_class_names(http: httpx2.Client) -> None:
    body = {"name": "none", "architecture": "timm:resnet18", "upload": "0" * 64}
    answer = http.post("/v1/models", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["/classes"]


def test_a_folder_is_packed_and_registered_with_one_command(stack: Stack, folder: Path) -> None:
    command = [Path(sys.executable).with_name("archetype"), "--url", stack.url, "models", "add", "packed"]
    command += ["--architecture", "huggingface", "--weights", folder]
    token = stack.settings.operator_token.get_secret_value()
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=150, check=False,
        env={"ARCHETYPE_KEY": token, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "packed@1 works: 3 classes" in done.stdout
