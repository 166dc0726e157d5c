"""The OpenAPI document: valid, complete, with examples that the API itself would accept."""

import re
from typing import Any

import jsonschema
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from archetype.contract.request import METHODS

CALLS = {
    "/healthz": {"get"},
    "/metrics": {"get"},
    "/readyz": {"get"},
    "/v1/archives": {"post"},
    "/v1/audits": {"get", "post"},
    "/v1/audits/{audit_id}": {"get"},
    "/v1/audits/{audit_id}/cancel": {"post"},
    "/v1/audits/{audit_id}/decision": {"post"},
    "/v1/audits/{audit_id}/events": {"get"},
    "/v1/audits/{audit_id}/report": {"get"},
    "/v1/audits/{audit_id}/signature": {"get"},
    "/v1/events": {"get"},
    "/v1/images": {"post"},
    "/v1/images/{image_id}": {"get"},
    "/v1/jobs": {"get", "post"},
    "/v1/jobs/{job_id}": {"delete", "get"},
    "/v1/jobs/{job_id}/archive": {"get"},
    "/v1/jobs/{job_id}/artifacts": {"get"},
    "/v1/jobs/{job_id}/artifacts/{name}": {"get"},
    "/v1/jobs/{job_id}/cancel": {"post"},
    "/v1/jobs/{job_id}/events": {"get"},
    "/v1/jobs/{job_id}/retry": {"post"},
    "/v1/keys": {"get", "post"},
    "/v1/keys/{key_id}": {"delete"},
    "/v1/methods": {"get"},
    "/v1/models": {"get", "post"},
    "/v1/models/{model}/trend": {"get"},
    "/v1/models/{reference}": {"get"},
    "/v1/models/{reference}/atlas": {"get"},
    "/v1/models/{reference}:explain": {"post"},
    "/v1/registry/mlflow": {"get", "post"},
    "/v1/registrations": {"get"},
    "/v1/releases": {"post"},
    "/v1/schedules": {"get", "post"},
    "/v1/schedules/{schedule_id}": {"delete", "get"},
    "/v1/signing-key": {"get"},
    "/v1/webhooks/deliveries": {"get"},
    "/v1/webhooks/deliveries/{delivery_id}": {"get"},
    "/v1/webhooks/deliveries/{delivery_id}/replay": {"post"},
    "/v1/webhooks/secret": {"get", "post"},
    "/v1/weights": {"post"},
    "/v2/health/live": {"get"},
    "/v2/health/ready": {"get"},
    "/v2/models/{reference}": {"get"},
    "/v2/models/{reference}/explain": {"post"},
    "/v2/models/{reference}/ready": {"get"},
}


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    return app.test_client().get("/openapi.json").get_json()


def test_the_openapi_document_is_valid_and_has_every_call(document: dict[str, Any]) -> None:
    validate(document)
    assert {path: set(operations) for path, operations in document["paths"].items()} == CALLS


def test_every_call_has_a_summary_and_a_description(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert re.fullmatch(r"[A-Z][^.]+", operation["summary"]), f"{method} {path}"
            assert operation["description"].endswith("."), f"{method} {path}"


def test_every_parameter_and_body_has_an_example_that_its_schema_accepts(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            call = f"{method} {path}"
            for parameter in operation["parameters"]:
                jsonschema.validate(parameter["example"], parameter["schema"], jsonschema.Draft202012Validator)
            requests = list_json(operation.get("requestBody", {}))
            responses = [content for response in operation["responses"].values() for content in list_json(response)]
            for content in [*requests, *responses]:
                examples = [example["value"] for example in content.get("examples", {}).values()]
                schema = content["schema"] | {"components": document["components"]}
                for example in examples or [content.get("example")]:
                    assert example is not None, call
                    jsonschema.validate(example, schema, jsonschema.Draft202012Validator)


def list_json(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The contents of a message that have examples: all but files."""
    contents = message.get("content", {})
    return [
        content for kind, content in contents.items() if kind not in ("*/*", "application/zip", "multipart/form-data")
    ]


def test_a_job_of_every_method_is_shown_as_an_example(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert {example["value"]["method"] for example in content["examples"].values()} == set(METHODS)


def test_the_page_of_the_reference_loads_nothing_from_another_host(http: FlaskClient) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.get_data(as_text=True))
    assert sources
    for source in sources:
        assert source.startswith(("/", "data:"))
        if source.startswith("/"):
            assert http.get(source).status_code == 200
