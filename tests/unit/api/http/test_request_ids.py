"""The id of a request."""

import pytest
from flask.testing import FlaskClient


def test_the_clients_own_request_id_is_returned(http: FlaskClient) -> None:
    assert http.get("/healthz", headers={"X-Request-ID": "build-17.3:a_b"}).headers["X-Request-ID"] == "build-17.3:a_b"


@pytest.mark.parametrize("header", ["", "two words", "x" * 65, "<script>"])
def test_a_request_without_a_valid_id_gets_a_new_one(http: FlaskClient, header: str) -> None:
    ids = {http.get("/healthz", headers={"X-Request-ID": header}).headers["X-Request-ID"] for _ in range(2)}
    assert len(ids) == 2
    assert header not in ids


def test_a_problem_has_a_request_id_too(http: FlaskClient) -> None:
    assert http.get("/nothing").headers["X-Request-ID"]
