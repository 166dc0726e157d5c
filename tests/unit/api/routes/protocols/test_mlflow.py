"""The signature of a registry's webhook."""

import base64
import hashlib
import hmac
import time

import pytest
from flask import Flask
from pydantic import SecretStr

from api.routes.protocols.mlflow import check_signature
from shared.errors import Forbidden, Unauthorized
from tests.support.mlflow import DELIVERY_ID, sign, write_event

SECRET = SecretStr("a registry's")
BODY = write_event()
SIGNED = sign(SECRET.get_secret_value(), BODY)


def check(app: Flask, headers: dict[str, str], body: bytes = BODY, secret: SecretStr | None = SECRET) -> None:
    with app.test_request_context(method="POST", data=body, headers=headers):
        check_signature(secret)


NOW = time.time()


@pytest.fixture(autouse=True)
def _frozen_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still, because the messages above are signed when the module is imported."""
    monkeypatch.setattr("time.time", lambda: NOW)


def test_a_signed_message_is_accepted(app: Flask) -> None:
    check(app, SIGNED)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, BODY),
        (SIGNED, BODY + b" "),
        (SIGNED | {"X-MLflow-Delivery-Id": "another"}, BODY),
        (SIGNED | {"X-MLflow-Timestamp": str(int(time.time()) + 1)}, BODY),
        (SIGNED | {"X-MLflow-Signature": SIGNED["X-MLflow-Signature"].removeprefix("v1,")}, BODY),
        (sign("another secret", BODY), BODY),
    ],
    ids=["unsigned", "body", "delivery", "timestamp", "version", "secret"],
)
def test_a_message_that_is_not_signed_as_it_is_is_refused(app: Flask, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(Unauthorized, match="not signed"):
        check(app, headers, body)


@pytest.mark.parametrize("seconds", [-3600, -301, 302])
def test_a_message_of_another_time_is_refused(app: Flask, seconds: int) -> None:
    with pytest.raises(Unauthorized, match="clocks"):
        check(app, sign(SECRET.get_secret_value(), BODY, at=time.time() + seconds))


def test_a_service_without_a_registry_accepts_no_message(app: Flask) -> None:
    with pytest.raises(Forbidden, match="ARCHETYPE_MLFLOW_SECRET"):
        check(app, SIGNED, secret=None)


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1e9", "\u0661" * 10, "9" * 5000])
def test_a_timestamp_that_is_no_number_of_seconds_is_refused(app: Flask, timestamp: str) -> None:
    message = f"{DELIVERY_ID}.{timestamp}.".encode() + BODY
    digest = hmac.new(SECRET.get_secret_value().encode(), message, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    headers = {"X-MLflow-Delivery-Id": DELIVERY_ID, "X-MLflow-Timestamp": timestamp, "X-MLflow-Signature": signature}
    with pytest.raises(Unauthorized):
        check(app, headers)
