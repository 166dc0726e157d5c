"""Images over real HTTP."""

import hashlib
import io
import time
from contextlib import closing
from http.client import HTTPConnection

import httpx2
import pytest
from PIL import Image

from deploy.local import Stack
from shared.errors import MEDIA_TYPE
from tests.support.images import bomb


@pytest.fixture
def http(stack: Stack):
    with httpx2.Client(base_url=stack.url, timeout=30) as connected:
        yield connected


def jpeg(width: int = 60, height: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def send(http: httpx2.Client, data: bytes, name: str = "image.jpg") -> httpx2.Response:
    return http.post("/v1/images", files={"file": (name, data)})


def answer(connection: HTTPConnection) -> int:
    with connection.getresponse() as got:
        got.read()
        return got.status


def test_a_body_that_is_too_large_is_refused_on_a_connection_that_stays_open(http: httpx2.Client) -> None:
    with closing(HTTPConnection(http.base_url.host, http.base_url.port, timeout=30)) as connection:
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        connection.request("POST", "/v1/images", b"\0" * 3_000_000, form)
        assert answer(connection) == 413
        time.sleep(0.2)  # a connection that the server gives up is closed by then
        connection.request("GET", "/healthz")
        assert answer(connection) == 200


def test_a_body_that_is_too_large_is_refused_even_if_it_never_arrives(http: httpx2.Client) -> None:
    with closing(HTTPConnection(http.base_url.host, http.base_url.port, timeout=15)) as connection:
        connection.putrequest("POST", "/v1/images")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", "3000000")
        connection.endheaders(b"\0" * 1000)
        assert answer(connection) == 413


def test_an_image_is_stored_under_its_digest_and_returned_unchanged(http: httpx2.Client) -> None:
    data = jpeg()
    stored = send(http, data)
    assert stored.status_code == 201
    digest = hashlib.sha256(data).hexdigest()
    facts = {"format": "JPEG", "width": 60, "height": 40, "channels": 3, "bytes": len(data), "name": "image.jpg"}
    assert stored.json() == {"id": digest, **facts}
    fetched = http.get(stored.headers["Location"])
    assert (fetched.content, fetched.headers["Content-Type"]) == (data, "image/jpeg")
    assert http.get(f"/v1/images/{digest}", headers={"If-None-Match": f'"{digest}"'}).status_code == 304


@pytest.mark.parametrize(
    ("data", "name", "status", "slug"),
    [
        (jpeg(400, 300)[:-20], "cut.jpg", 422, "unreadable-image"),
        (b"just some text\n", "text.png", 422, "unreadable-image"),
        (b"", "empty.png", 422, "unreadable-image"),
        (bomb(50_000, 50_000), "bomb.png", 413, "too-large"),
        (b"\0" * 3_000_000, "big.png", 413, "too-large"),
    ],
)
def test_a_broken_image_is_refused_and_not_stored(
    http: httpx2.Client, data: bytes, name: str, status: int, slug: str
) -> None:
    refused = send(http, data, name)
    assert refused.status_code == status
    assert refused.headers["Content-Type"] == MEDIA_TYPE
    problem = refused.json()
    assert problem["type"] == f"/problems/{slug}"
    assert problem["errors"][0]["field"] in ("file", "body")
    assert http.get(f"/v1/images/{hashlib.sha256(data).hexdigest()}").status_code == 404


def test_a_form_without_the_file_is_refused_with_the_name_of_the_field(http: httpx2.Client) -> None:
    refused = http.post("/v1/images", files={"picture": ("a.jpg", jpeg())})
    assert refused.status_code == 422
    assert "'file'" in refused.json()["detail"]


def test_an_image_that_is_not_in_a_form_is_refused(http: httpx2.Client) -> None:
    refused = http.post("/v1/images", content=jpeg(), headers={"Content-Type": "image/jpeg"})
    assert refused.status_code == 415
    assert refused.json()["errors"][0]["allowed"] == "multipart/form-data"


@pytest.mark.parametrize("image_id", ["0" * 64, "x", "..%2Fjobs"])
def test_an_image_that_was_never_uploaded_is_not_found(http: httpx2.Client, image_id: str) -> None:
    assert http.get(f"/v1/images/{image_id}").status_code == 404
