"""Bodies, query strings and headers of requests."""

import io
import socket
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import BaseModel, ConfigDict, SecretStr

from api.app import create_app
from api.http.parsing import (
    MAX_RELEASE_BYTES,
    RELEASE_LIMITS,
    read_body,
    read_cancel_after,
    read_file,
    read_json,
    read_query,
    read_wait,
)
from archetype.contract import strict_json
from shared.errors import InvalidRequest, LengthRequired, MalformedJSON, Problem, UnsupportedMediaType
from shared.settings import Settings

TOKEN = "the operator's token, which is long enough"


@pytest.fixture(scope="module")
def operator() -> Iterator[FlaskClient]:
    """A client with the operator's token of an application without servers."""
    settings = Settings(
        redis_url="redis://127.0.0.1:1/0",
        s3_endpoint="http://127.0.0.1:1",
        operator_token=SecretStr(TOKEN),
        log_level="error",
    )
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    with socket.socket() as connection:
        client.environ_base["gunicorn.socket"] = connection
        yield client


class Point(BaseModel):
    model_config = ConfigDict(extra="forbid")

    x: int
    y: int = 0


def test_a_json_body_is_read_as_a_model(app: Flask) -> None:
    with app.test_request_context(method="POST", json={"x": 3}):
        assert read_json() == {"x": 3}
    with app.test_request_context(method="POST", json={"x": 3}):
        assert read_body(Point) == Point(x=3)


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (b"{", "application/json", MalformedJSON),
        (b"", "application/json", MalformedJSON),
        (b"\xff\xfe", "application/json", MalformedJSON),
        (b'{"x": NaN}', "application/json", MalformedJSON),
        (b'{"x": [-Infinity]}', "application/json", MalformedJSON),
        (b'{"x": 1e999}', "application/json", MalformedJSON),
        (b"{}", "text/plain", UnsupportedMediaType),
        (b"{}", None, UnsupportedMediaType),
    ],
)
def test_a_body_that_is_not_json_is_refused(
    app: Flask, body: bytes, content_type: str | None, problem: type[Problem]
) -> None:
    with app.test_request_context(method="POST", data=body, content_type=content_type), pytest.raises(problem):
        read_json()


def test_a_body_that_is_not_json_is_refused_with_the_place_of_the_fault(app: Flask) -> None:
    with (
        app.test_request_context(method="POST", data=b'{"x": }', content_type="application/json"),
        pytest.raises(MalformedJSON, match=r"\(Expecting value: line 1 column 7 \(char 6\)\)"),
    ):
        read_json()


def test_a_chunked_body_is_refused(app: Flask) -> None:
    with (
        app.test_request_context(method="POST", headers={"Transfer-Encoding": "chunked"}),
        pytest.raises(LengthRequired, match="Content-Length"),
    ):
        read_json()


def test_a_wrong_field_of_a_body_is_named_by_a_json_pointer(app: Flask) -> None:
    with app.test_request_context(method="POST", json={"x": "three"}), pytest.raises(InvalidRequest) as refused:
        read_body(Point)
    assert refused.value.errors[0].field == "/x"


def test_a_wrong_field_of_a_query_string_is_named(app: Flask) -> None:
    with app.test_request_context("/?x=1&color=red"), pytest.raises(InvalidRequest) as refused:
        read_query(Point)
    assert [error.field for error in refused.value.errors] == ["color"]


def test_a_file_is_read_from_its_form_field(app: Flask) -> None:
    with app.test_request_context(method="POST", data={"file": (io.BytesIO(b"content"), "a.png")}):
        assert read_file("an image").read() == b"content"


def test_a_form_without_the_field_is_refused_with_its_name(app: Flask) -> None:
    with (
        app.test_request_context(method="POST", data={"picture": (io.BytesIO(b"content"), "a.png")}),
        pytest.raises(InvalidRequest, match="send an image in the field 'file'") as refused,
    ):
        read_file("an image")
    assert refused.value.errors[0].given == ["picture"]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("wait=5", 5), ("respond-async, wait=10", 10), ("wait=900", 60), ("await=5", 7), ("wait=soon", 7), ("", 7)],
)
def test_the_time_to_wait_is_read_and_bounded(app: Flask, header: str, seconds: int) -> None:
    with app.test_request_context(headers={"Prefer": header}):
        assert read_wait(60, default=7) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("1h30", 3630), (" 2m5s ", 125), ("1h0m1s", 3601)],
)
def test_cancel_after_is_read_as_seconds(app: Flask, header: str, seconds: int) -> None:
    with app.test_request_context(headers={"Cancel-After": header}):
        assert read_cancel_after() == seconds


def test_a_request_without_cancel_after_has_none(app: Flask) -> None:
    with app.test_request_context():
        assert read_cancel_after() is None


@pytest.mark.parametrize("header", ["0", "-5", "soon", "5 parsecs", "30m1h", "1.5h", "9" * 40, ""])
def test_a_cancel_after_that_is_no_duration_is_refused(app: Flask, header: str) -> None:
    with app.test_request_context(headers={"Cancel-After": header}), pytest.raises(InvalidRequest) as refused:
        read_cancel_after()
    assert refused.value.errors[0].field == "Cancel-After"


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 60_000 + b"[]]",
        b'{"targets": [' + b"1," * 400_000 + b"1]}",
        b"[" * 100_000,
        b'{"a":' * 40,
        b'{"images": "' + b"a" * 2_000_000 + b'"}',
    ],
    ids=["lists", "numbers", "brackets", "levels", "bytes"],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/audits", "/v1/schedules", "/v1/keys"])
def test_a_json_body_with_too_many_elements_is_refused_before_it_is_parsed(
    operator: FlaskClient, path: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strict_json.json, "loads", None)
    answer = operator.post(path, data=body, content_type="application/json")
    assert answer.status_code == 413
    assert b"/problems/too-large" in answer.get_data()


def test_a_release_may_have_a_hundred_thousand_class_names(app: Flask) -> None:
    names = {"classes": [f"class {number}" for number in range(100_000)]}
    with app.test_request_context(method="POST", json=names):
        assert read_json(RELEASE_LIMITS, max_bytes=MAX_RELEASE_BYTES) == names


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_the_form_of_the_sign_in_page_is_limited(operator: FlaskClient, content_type: str) -> None:
    answer = operator.post("/enter", data=b"key=" + b"a&" * 40_000, content_type=content_type)
    assert answer.status_code == 413


def test_an_upload_with_many_parts_is_refused(operator: FlaskClient) -> None:
    parts = b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' for _ in range(100))
    form = "multipart/form-data; boundary=x"
    answer = operator.post("/v1/images", data=parts + b"--x--\r\n", content_type=form)
    assert answer.status_code == 413


def test_the_problem_names_the_limit_of_the_call(operator: FlaskClient) -> None:
    answer = operator.post("/v1/jobs", data=b" " * 2_500_000, content_type="application/json")
    assert "2000000 bytes" in answer.json["detail"]
