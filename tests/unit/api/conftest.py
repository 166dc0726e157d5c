"""An application whose Redis and object store do not exist: what works on it needs no server."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.app import create_app
from shared.settings import Settings


@pytest.fixture(scope="session")
def app() -> Flask:
    return create_app(Settings(redis_url="redis://127.0.0.1:1/0", s3_endpoint="http://127.0.0.1:1", log_level="error"))


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()
