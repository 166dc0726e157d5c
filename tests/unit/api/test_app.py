"""The application as a whole, without servers."""

import ast

import pytest
from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import create_app
from shared.errors import MEDIA_TYPE
from shared.settings import Settings
from tests.support.paths import ROOT


def test_the_application_starts_and_is_alive_without_redis_and_store(http: FlaskClient) -> None:
    assert http.get("/healthz").get_json() == {"status": "ok", "parts": {}}


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/docs/nothing.js"])
def test_an_unknown_path_is_a_problem_document(http: FlaskClient, path: str) -> None:
    response = http.get(path)
    assert (response.status_code, response.content_type) == (404, MEDIA_TYPE)
    assert response.get_json()["type"] == "/problems/not-found"


def test_a_wrong_http_method_is_refused_with_the_allowed_ones(http: FlaskClient) -> None:
    response = http.put("/v1/jobs")
    assert (response.status_code, response.content_type) == (405, MEDIA_TYPE)
    assert "POST" in response.headers["Allow"]


def ask_through_proxy(**headers: str) -> tuple[TestResponse, list[str]]:
    """Returns the response, and the addresses of the service that views saw."""
    app = create_app(Settings(redis_url="redis://127.0.0.1:1/0", s3_endpoint="http://127.0.0.1:1", trusted_proxies=1))
    addresses: list[str] = []
    app.before_request(lambda: addresses.append(request.host_url))
    sent = {f"X-Forwarded-{name}": value for name, value in headers.items()}
    return app.test_client().get("/healthz", headers=sent), addresses


def test_a_path_prefix_of_a_proxy_is_refused_with_the_reason() -> None:
    response, _ = ask_through_proxy(Prefix="/archetype")
    assert (response.status_code, response.content_type) == (422, MEDIA_TYPE)
    assert "below a path" in response.get_json()["detail"]
    assert ask_through_proxy(Prefix="/")[0].status_code != 422


def test_a_proxy_on_another_port_is_part_of_the_address() -> None:
    assert ask_through_proxy(Host="example.com:8443", Proto="https")[1] == ["https://example.com:8443/"]


HTTP = ("flask", "werkzeug", "api.routes", "api.http", "api.web")


def test_services_do_not_depend_on_flask_or_routes() -> None:
    for path in (ROOT / "api" / "services").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith(HTTP) for name in names), path


def test_the_api_has_at_most_fourteen_modules_in_a_folder() -> None:
    for folder in ("routes", "services", "http", "adapters"):
        modules = [path for path in (ROOT / "api" / folder).glob("*.py") if path.stem != "__init__"]
        assert len(modules) <= 14, folder
