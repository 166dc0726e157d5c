"""A WSGI application without dependencies, with which the server alone can be tested."""

from collections.abc import Iterable
from typing import Any

BIG = 400_000_000


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Returns the number of bytes of the body and the address of the client; for `/big`, many bytes."""
    try:
        size = sum(map(len, iter(lambda: environ["wsgi.input"].read(65_536), b"")))
    except OSError:
        start_response("408 Request Timeout", [("Content-Length", "0")])
        return []
    if environ["PATH_INFO"] == "/big":
        start_response("200 OK", [("Content-Length", str(BIG))])
        return (b"x" * 100_000 for _ in range(BIG // 100_000))
    text = f"{size} {environ['REMOTE_ADDR']} {environ['SERVER_PORT']}".encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]
