"""The API against its OpenAPI document: no request causes a 5xx or a response that is not described."""

from collections.abc import Iterator

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from api.app import create_app
from deploy.local import run_stack
from shared.settings import Settings

EXAMPLES = 25
"""Requests of every call."""

EXCLUDED_CHECKS = [positive_data_acceptance, negative_data_rejection]
"""Checks that need more than the schema: whether a model, an image or a class exists."""

NEED_WORKERS = {"/v1/models/{reference}:explain", "/v2/models/{reference}/explain"}
"""Calls that wait for a worker. There is none here, so that they are answered with 503, as described."""

DESCRIBED = create_app(Settings()).extensions["openapi"]()["paths"]
CALLS = [
    (method, path)
    for path, methods in DESCRIBED.items()
    for method in methods
    if not path.endswith("/events")  # these do not end
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The API of a stack without workers: accepted jobs stay in the queue."""
    settings = Settings(max_wait_seconds=0, log_level="error")
    with run_stack(tmp_path_factory.mktemp("contract"), settings, workers=0) as stack:
        yield create_app(stack.settings)


@pytest.fixture(scope="module")
def described(app: Flask) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_wsgi("/openapi.json", app)


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_response_of_a_call_is_in_the_openapi_document(
    app: Flask, described: schemathesis.BaseSchema, method: str, path: str
) -> None:
    token = app.extensions["archetype"].settings.operator_token.get_secret_value()
    operation = described[path][method]

    @given(data=st.data())
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def send(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        # Asserts that there is no 5xx, and that status, headers and body are described.
        excluded = [*EXCLUDED_CHECKS, *([not_a_server_error] if path in NEED_WORKERS else [])]
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=excluded)

    send()
