"""Stored files: whatever their type, a browser never executes them in the origin of the API."""

import ast
import re
from collections.abc import Iterator

import pytest
from flask import Flask, Response
from werkzeug.http import parse_options_header

from api.http.files import INLINE, SANDBOXED, StoredFile, stream_file, write_disposition
from shared.errors import NotFound
from shared.storage.s3 import Missing
from tests.support.paths import ROOT
from worker.output.artifacts import MEDIA_TYPES

UPLOADED = {"image/jpeg", "image/bmp", "image/tiff"}
HOSTILE = {"image/svg+xml", "application/xhtml+xml", "text/xml", "text/javascript", "application/pdf"}
ALL_TYPES = sorted({*MEDIA_TYPES.values(), *UPLOADED, *HOSTILE})


def make_file(media_type: str = "image/png", name: str = "0000-lemon.png") -> StoredFile:
    return StoredFile(name, media_type, 7, "d" * 64, lambda: iter([b"con", b"tent"]), "the file is gone")


def read_policy(response: Response) -> dict[str, str]:
    directives = (part.strip().partition(" ") for part in response.headers["Content-Security-Policy"].split(";"))
    return {name: sources for name, _, sources in directives}


@pytest.mark.parametrize("media_type", ALL_TYPES)
def test_a_stored_file_of_any_media_type_is_neither_sniffed_nor_executed(app: Flask, media_type: str) -> None:
    with app.test_request_context():
        response = stream_file(make_file(media_type))
    policy = read_policy(response)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert policy["default-src"] == "'none'"
    assert not any(name.startswith("script-src") for name in policy)
    assert policy["sandbox"] == ""
    assert response.mimetype == media_type
    assert response.headers["Content-Disposition"].startswith(("inline; filename=", "attachment; filename="))


def test_a_report_may_show_its_inline_styles_and_images(app: Flask) -> None:
    with app.test_request_context():
        response = stream_file(make_file("text/html", "report.html"))
    policy = read_policy(response)
    assert (policy["img-src"], policy["style-src"]) == ("data:", "'unsafe-inline'")
    assert response.headers["Content-Disposition"].startswith("inline")


def test_a_stored_file_has_its_length_and_etag(app: Flask) -> None:
    with app.test_request_context():
        response = stream_file(make_file())
    assert response.headers["Content-Length"] == "7"
    assert response.headers["ETag"] == f'"{"d" * 64}"'
    assert b"".join(response.iter_encoded()) == b"content"


def test_a_file_that_the_client_has_is_neither_opened_nor_sent(app: Flask) -> None:
    def fail() -> Iterator[bytes]:
        raise AssertionError("the file was opened")

    file = StoredFile("a.png", "image/png", 7, "d" * 64, fail, "the file is gone")
    with app.test_request_context(headers={"If-None-Match": f'"{"d" * 64}"'}):
        response = stream_file(file)
    assert response.status_code == 304
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_file_that_is_gone_from_the_store_is_not_found(app: Flask) -> None:
    def fail() -> Iterator[bytes]:
        raise Missing("key")

    with app.test_request_context(), pytest.raises(NotFound, match="the file is gone"):
        stream_file(StoredFile("a.png", "image/png", 7, "d" * 64, fail, "the file is gone"))


@pytest.mark.parametrize(
    ("name", "filename"),
    [
        ("0000-lemon.png", "0000-lemon.png"),
        ("bell pepper (red).png", "bell pepper (red).png"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ('a"; filename="b.exe', "a_ filename=_b.exe"),
        ("a\r\nSet-Cookie: x=1.png", "a_Set-Cookie_ x=1.png"),
        (".htaccess", "htaccess"),
        ("", "file"),
        ("x" * 400 + ".png", "x" * 146 + ".png"),
        ("zürich.png", "zürich.png"),
        ("レモン.png", "レモン.png"),
    ],
)
def test_the_name_of_a_stored_file_is_safe_in_a_header_and_on_a_disk(name: str, filename: str) -> None:
    header = write_disposition(name, "image/png")
    assert "\n" not in header
    assert "\r" not in header
    assert header.isascii()
    disposition, options = parse_options_header(header)
    assert (disposition, options["filename"]) == ("inline", filename)


@pytest.mark.parametrize("media_type", ALL_TYPES)
def test_the_object_store_lets_browsers_show_only_what_cannot_contain_scripts(media_type: str) -> None:
    header = write_disposition("a", media_type, sandbox=False)
    assert header.startswith("inline") == (media_type in INLINE)
    assert not INLINE & SANDBOXED


def test_no_other_code_of_the_api_sends_bytes_of_the_store() -> None:
    """A route that streams an object itself would send it without the headers."""
    for path in (ROOT / "api").rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = [call.attr for call in calls if isinstance(call, ast.Attribute)]
        # They give the stream to `stream_file`, or pack it in a ZIP archive, which has the headers.
        allowed = {"api/http/files.py", "api/routes/images.py", "api/http/archive.py"}
        if str(path.relative_to(ROOT)) not in allowed:
            assert not any(re.fullmatch(r"stream|stream_\w+", name) for name in names), path
