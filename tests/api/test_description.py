"""The API describes itself, without torch and without the internet."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import jsonschema
import pytest
from openapi_spec_validator import validate

from deploy.local import Stack
from shared.methods import MENU

ROOT = Path(__file__).parents[2]


@pytest.fixture
def http(stack: Stack):
    with httpx2.Client(base_url=stack.url, timeout=30) as connected:
        yield connected


def test_the_openapi_document_is_valid_and_has_every_call(http: httpx2.Client) -> None:
    document = http.get("/openapi.json").json()
    validate(document)
    calls = {(path, method) for path, item in document["paths"].items() for method in item}
    assert calls == {
        ("/v1/jobs", "post"), ("/v1/jobs", "get"), ("/v1/jobs/{job_id}", "get"), ("/v1/jobs/{job_id}", "delete"),
        ("/v1/jobs/{job_id}/cancel", "post"), ("/v1/jobs/{job_id}/retry", "post"),
        ("/v1/jobs/{job_id}/artifacts/{name}", "get"), ("/v1/images", "post"),
        ("/v1/images/{image_id}", "get"), ("/v1/methods", "get"), ("/v1/models", "get"),
        ("/v1/models/{reference}", "get"),
        ("/v1/models", "post"), ("/v1/weights", "post"), ("/v1/archives", "post"),
        ("/v1/keys", "post"), ("/v1/keys", "get"), ("/v1/keys/{key_id}", "delete"),
        ("/v1/jobs/{job_id}/events", "get"), ("/v1/events", "get"), ("/v1/webhooks/secret", "get"),
        ("/v1/webhooks/secret", "post"), ("/v1/webhooks/deliveries", "get"),
        ("/v1/webhooks/deliveries/{delivery_id}", "get"), ("/v1/webhooks/deliveries/{delivery_id}/replay", "post"),
        ("/v1/audits", "post"), ("/v1/audits", "get"), ("/v1/audits/{audit_id}", "get"),
        ("/v1/audits/{audit_id}/cancel", "post"), ("/v1/audits/{audit_id}/events", "get"),
        ("/v1/audits/{audit_id}/report", "get"), ("/v1/models/{model}/trend", "get"),
        ("/v1/schedules", "post"), ("/v1/schedules", "get"), ("/v1/schedules/{schedule_id}", "get"),
        ("/v1/schedules/{schedule_id}", "delete"), ("/v1/releases", "post"), ("/v1/registry/mlflow", "post"),
        ("/healthz", "get"), ("/readyz", "get"), ("/metrics", "get"),
    }  # fmt: skip


def test_the_page_loads_nothing_from_elsewhere(http: httpx2.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sources
    for source in sources:
        assert source.startswith(("/", "data:"))
        if source.startswith("/"):
            assert http.get(source).status_code == 200


def test_the_menu_is_served_with_schemas(http: httpx2.Client) -> None:
    items = http.get("/v1/methods").json()["items"]
    assert [item["method"] for item in items] == list(MENU)
    assert all(item["schema"]["type"] == "object" and item["description"] for item in items)


def test_a_model_is_described_with_classes_and_layers(http: httpx2.Client) -> None:
    assert "shapes" in [item["name"] for item in http.get("/v1/models").json()["items"]]
    limit = time.monotonic() + 60
    while (model := http.get("/v1/models/shapes").json())["layers"] is None:  # until a worker has looked
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert model["class_names"][0] == "lemon"
    assert model["releases"][0]["parameters"] > 200_000
    layer = next(layer for layer in model["layers"] if layer["name"] == "features.5.0")
    assert (layer["kind"], layer["shape"]) == ("Conv2d", [80, 5, 5])
    missing = http.get("/v1/models/shape")
    assert missing.status_code == 404
    assert "shapes" in missing.json()["detail"]


def test_readiness_and_metrics_speak_of_the_whole_service(http: httpx2.Client) -> None:
    assert http.get("/readyz").json() == {"status": "ok", "parts": {"redis": "ok", "object store": "ok"}}
    text = http.get("/metrics").text
    assert 'archetype_jobs{state="queued"}' in text
    assert "archetype_http_requests_total" in text


def test_the_api_serves_where_torch_cannot_be_imported(stack: Stack) -> None:
    program = """
import sys
for name in ("torch", "torchvision", "cv2", "safetensors", "worker"):
    sys.modules[name] = None  # any import of it now fails
from api.app import create_app
from shared.settings import Settings
http = create_app(Settings()).test_client()
body = {"method": "class_model", "model": "shapes", "targets": ["bee"], "params": {"steps": 1}}
answers = [http.get("/readyz"), http.get("/v1/models/shapes"), http.post("/v1/jobs", json=body)]
print([answer.status_code for answer in answers])
"""
    settings = stack.settings
    env = {
        "ARCHETYPE_REDIS_URL": settings.redis_url,
        "ARCHETYPE_S3_ENDPOINT": settings.s3_endpoint,
        "ARCHETYPE_KEYLESS_LOOPBACK": "true",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[200, 200, 202]", done.stderr


def test_every_call_shows_what_it_takes_and_gives(http: httpx2.Client) -> None:
    document = http.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert all("example" in one for one in operation["parameters"] if one["in"] != "query"), where
            bodies = operation.get("requestBody", {}).get("content", {})
            answers = [content for answer in operation["responses"].values() for content in _of(answer)]
            for content in [*_of({"content": bodies}), *answers]:
                shown = [one["value"] for one in content.get("examples", {}).values()] or [content.get("example")]
                schema = content["schema"] | {"components": document["components"]}
                for example in shown:
                    assert example is not None, where
                    jsonschema.validate(example, schema, jsonschema.Draft202012Validator)


def _of(answer: dict) -> list[dict]:
    return [
        content for kind, content in answer.get("content", {}).items() if kind not in ("*/*", "multipart/form-data")
    ]
