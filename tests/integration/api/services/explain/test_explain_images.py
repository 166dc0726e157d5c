"""The explain protocols of KServe: predictions and maps in one request."""

import base64
import io
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from archetype.client import Client
from archetype.contract.request import Saliency
from tests.support.run_method import encode, noise
from tests.support.waiting import wait_until

PICTURES = Path("deploy/pictures")
URL = "/v1/models/shapes:explain"


def ask(http: httpx2.Client, instances: list[Any], url: str = URL, **body: Any) -> httpx2.Response:
    return http.post(url, json={"instances": instances, **body}, headers={"Prefer": "wait=60"}, timeout=120)


def explain(http: httpx2.Client, instances: list[Any], **body: Any) -> dict[str, Any]:
    """Asks until the answer comes in time: other tests may use the worker."""

    def find_answer() -> dict[str, Any] | None:
        answer = ask(http, instances, **body)
        assert answer.status_code in (200, 503), answer.text
        return answer.json() if answer.status_code == 200 else None

    found = wait_until(find_answer, 400)
    assert found is not None
    return found


def pack(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def test_an_explanation_is_the_map_of_a_saliency_job(client: Client, http: httpx2.Client) -> None:
    bee, lemon = ((PICTURES / name).read_bytes() for name in ("bee.png", "lemon.png"))
    kind = {"kind": "gradient_x_input"}
    answer = explain(http, [pack(bee), {"image": pack(lemon)}, {"image_bytes": pack(bee)}], parameters=kind)
    assert [each["name"] for each in answer["predictions"]] == ["bee", "lemon", "bee"]
    assert [each["target"]["name"] for each in answer["explanations"]] == ["bee", "lemon", "bee"]
    assert answer["explanations"][0] == answer["explanations"][2]
    image = client.upload(bee).id
    request = Saliency.model_validate(
        {"method": "saliency", "model": "shapes", "images": [image], "params": kind | {"outputs": ["raw"]}}
    )
    job = client.wait(client.submit(request).id, timeout=400)
    artifact = next(artifact for artifact in job.artifacts if artifact.name.endswith(".npz"))
    view = np.load(io.BytesIO(client.fetch(artifact)))["view"]
    np.testing.assert_allclose(np.array(answer["explanations"][0]["map"]), view, rtol=1e-5, atol=1e-12)
    assert client.job(answer["job"]).tags == ["explain"]


def test_rows_of_pixels_are_images(http: httpx2.Client) -> None:
    levels = noise(28, 28, 3, seed=5)
    rows, file = explain(http, [levels.tolist()]), explain(http, [pack(encode(levels))])
    assert rows["predictions"] == file["predictions"]
    assert rows["explanations"] == file["explanations"]


def test_the_client_explains_images(client: Client, http: httpx2.Client) -> None:
    explain(http, [[[0, 255]]])  # the worker has loaded the network
    answer = client.explain("shapes", [(PICTURES / "bee.png").read_bytes()], kind="gradient", seconds=60)
    assert answer.predictions[0].name == "bee"
    assert answer.explanations[0].kind == "gradient"


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        ([], "at least 1 item"),
        ([{"b64": "no base64!"}], "an instance is not an image"),
        ([{"b64": base64.b64encode(b"no image").decode()}], "image"),
        ([[[0, 256]]], "from 0 to 255"),
        ([[[[0, 1], [2, 3]]]], "shape"),
        ([[[0], [1, 2]]], "an instance is not an image"),
        (["text"], ""),
    ],
)
def test_instances_that_are_no_images_are_refused(http: httpx2.Client, instances: list[Any], words: str) -> None:
    answer = ask(http, instances)
    assert answer.status_code == 422, answer.text
    assert words in answer.text


def test_unknown_models_and_parameters_are_refused(http: httpx2.Client) -> None:
    assert ask(http, [[[0, 1]]], "/v1/models/none:explain").status_code == 422
    refused = ask(http, [[[0, 1]]], parameters={"kind": "magic"})
    assert refused.status_code == 422
    assert "/parameters/kind" in refused.text


def test_a_tensor_has_the_answer_of_the_same_instances(http: httpx2.Client) -> None:
    files = [base64.b64encode((PICTURES / name).read_bytes()).decode() for name in ("bee.png", "lemon.png")]
    expected = explain(http, [{"b64": file} for file in files], parameters={"kind": "gradient"})
    tensor = {"name": "any", "datatype": "BYTES", "shape": [2], "data": files}
    body = {"id": "7", "parameters": {"kind": "gradient"}, "inputs": [tensor], "model_name": "ignored"}
    answer = ask_v2(http, body)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "shapes", "1")
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["class_name"]["data"] == ["bee", "lemon"]
    assert outputs["class_index"]["data"] == [each["index"] for each in expected["predictions"]]
    assert outputs["probability"]["data"] == [each["probability"] for each in expected["predictions"]]
    maps = np.array(outputs["map"]["data"]).reshape(outputs["map"]["shape"])
    np.testing.assert_array_equal(maps, [each["map"] for each in expected["explanations"]])
    described = http.get("/v2/models/shapes").json()["outputs"]
    assert [len(output["shape"]) for output in described] == [len(output["shape"]) for output in answer["outputs"]]


def test_a_tensor_request_gets_the_outputs_that_it_wants(http: httpx2.Client) -> None:
    tensor = {"name": "any", "datatype": "UINT8", "shape": [1, 1, 2], "data": [0, 255]}
    answer = ask_v2(http, {"inputs": [tensor], "outputs": [{"name": "probability"}]})
    assert [output["name"] for output in answer["outputs"]] == ["probability"]


def ask_v2(http: httpx2.Client, body: dict[str, Any]) -> dict[str, Any]:
    """Asks until the answer comes in time: other tests may use the worker."""

    def find_answer() -> dict[str, Any] | None:
        answer = http.post("/v2/models/shapes/explain", json=body, headers={"Prefer": "wait=60"}, timeout=120)
        assert answer.status_code in (200, 503), answer.text
        return answer.json() if answer.status_code == 200 else None

    found = wait_until(find_answer, 400)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": []}, "at least 1 item"),
        ({"outputs": [{"name": "logits"}]}, "/outputs/0/name"),
        ({"parameters": {"binary_data_output": True}}, "/parameters/binary_data_output"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1, 2], "data": [0.5, 0.5]}]}, "datatype"),
    ],
)
def test_tensor_requests_that_cannot_be_answered_are_refused(
    http: httpx2.Client, change: dict[str, Any], words: str
) -> None:
    tensor = {"name": "any", "datatype": "UINT8", "shape": [1, 1, 2], "data": [0, 255]}
    answer = http.post("/v2/models/shapes/explain", json={"inputs": [tensor]} | change)
    assert answer.status_code == 422, answer.text
    assert words in answer.text


def test_health_and_models_answer_as_the_open_inference_protocol_says(http: httpx2.Client) -> None:
    explain(http, [[[0, 255]]])  # the worker has loaded the network
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json()["ready"] is True
    assert http.get("/v2/models/shapes/ready").json() == {"ready": True, "name": "shapes"}
    assert http.get("/v1/models/shapes").json()["ready"] is True  # KServe V1
    assert http.get("/v2/models/none/ready").status_code == 404


def test_an_instance_without_a_finite_score_is_answered_with_its_problem(http: httpx2.Client) -> None:
    def find_answer() -> httpx2.Response | None:
        answer = ask(http, [noise(28, 28, 3, seed=5).tolist(), [[0] * 28] * 28], "/v1/models/dark:explain")
        return None if answer.status_code == 503 else answer  # other tests may use the worker

    answer = wait_until(find_answer, 400)
    assert answer is not None
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "/problems/not-finite"


def test_an_explanation_that_takes_too_long_is_refused_with_the_job(http: httpx2.Client) -> None:
    body = {"instances": [[[0, 255]]], "parameters": {"kind": "smoothgrad", "samples": 200}}
    answer = http.post("/v1/models/slow:explain", json=body, headers={"Prefer": "wait=1"}, timeout=60)
    assert answer.status_code == 503, answer.text
    assert "did not end within 1 s; job 0" in answer.json()["detail"]
