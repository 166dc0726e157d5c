"""The bucket, in front of stores that hang, trickle, are slow, or refuse."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from deploy.local import Stack
from shared.errors import ObjectRefused, Unavailable
from shared.process.circuit_breaker import FAILURES
from shared.settings import Settings
from shared.storage.s3 import Bucket
from shared.storage.s3_client import Patience

SHORT = Patience(seconds=0.5, attempts=2, running=4, waiting=4, remembers=True)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@contextmanager
def serve(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Runs a server that handles each connection in a thread."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def hang(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while connection.recv(65_536):
            pass


def trickle(connection: socket.socket) -> None:
    """Sends a byte now and then, so that no read of a client takes long."""
    with connection, suppress(OSError):
        connection.recv(65_536)
        connection.sendall(ANSWER)
        for _ in range(600):
            connection.sendall(b"a")
            time.sleep(0.1)


def trickle_head(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        connection.recv(65_536)
        for _ in range(600):
            connection.sendall(b"H")
            time.sleep(0.1)


@pytest.mark.parametrize("handle", [hang, trickle, trickle_head])
def test_a_store_that_does_not_finish_is_unavailable_and_remembered(handle: Callable[[socket.socket], None]) -> None:
    with serve(handle) as endpoint:
        bucket = Bucket(Settings(s3_endpoint=endpoint), SHORT)
        for _ in range(FAILURES):
            with pytest.raises(Unavailable, match="object store"):
                bucket.get("key")
        started = time.monotonic()
        for _ in range(100):
            with pytest.raises(Unavailable):
                bucket.get("key")
        assert time.monotonic() - started < 20  # 100 deadlines are 50 s


def test_reading_a_large_object_that_trickles_ends() -> None:
    with serve(trickle) as endpoint:
        chunks = Bucket(Settings(s3_endpoint=endpoint), SHORT).stream("key", chunk=1)
        assert next(chunks) == b"a"
        large = Bucket(Settings(s3_endpoint=endpoint), SHORT)
        with pytest.raises(Unavailable):
            list(large.stream("key", chunk=1000))


@contextmanager
def refuse(status: int, code: str, message: str) -> Iterator[str]:
    """Runs a store that answers every call with an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "message", "cause"),
    [
        (403, "SignatureDoesNotMatch", "", "password"),
        (403, "InvalidAccessKeyId", "", "access key"),
        (403, "AccessDenied", "", "permission"),
        (400, "ExpiredToken", "", "token"),
        (404, "NoSuchBucket", "", "bucket does not exist"),
        (507, "InsufficientStorage", "", "disk is full"),
        (500, "InternalError", "write /data: no space left on device", "disk is full"),
    ],
)
def test_the_cause_of_a_refusal_is_named(status: int, code: str, message: str, cause: str) -> None:
    with refuse(status, code, message) as endpoint, pytest.raises(Unavailable, match=cause):
        Bucket(Settings(s3_endpoint=endpoint), SHORT).check(5)


@pytest.mark.parametrize(
    ("status", "code", "is_of_object"),
    [
        (403, "AccessDenied", True),
        (400, "EntityTooLarge", True),
        (403, "InvalidAccessKeyId", False),
        (400, "ExpiredToken", False),
        (404, "NoSuchBucket", False),
        (429, "TooManyRequests", False),
        (503, "SlowDown", False),
    ],
)
def test_a_refusal_of_one_object_is_told_from_one_of_the_account_and_from_an_outage(
    status: int, code: str, is_of_object: bool
) -> None:
    with refuse(status, code, "") as endpoint, pytest.raises(Unavailable) as refused:
        Bucket(Settings(s3_endpoint=endpoint), SHORT).get("jobs/a/request.json")
    assert isinstance(refused.value, ObjectRefused) is is_of_object


@pytest.mark.parametrize(
    ("endpoint", "cause"),
    [("http://127.0.0.1:1", "refused"), ("http://store.invalid:9000", "DNS|no answer in time|did not answer")],
)
def test_the_cause_of_a_missing_connection_is_named(endpoint: str, cause: str) -> None:
    with pytest.raises(Unavailable, match=cause):
        Bucket(Settings(s3_endpoint=endpoint), SHORT).check(5)


@contextmanager
def slow_down(to: str, bytes_per_second: int) -> Iterator[str]:
    """Runs a proxy that forwards the bytes of all clients together at a rate."""
    target, lock = urlsplit(to), threading.Lock()

    def copy(source: socket.socket, sink: socket.socket, *, slowly: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if slowly:
                    with lock:
                        time.sleep(len(data) / bytes_per_second)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def forward(client: socket.socket) -> None:
        with client, socket.create_connection((target.hostname, target.port)) as server:
            back = threading.Thread(target=copy, args=(server, client), kwargs={"slowly": False}, daemon=True)
            back.start()
            copy(client, server, slowly=True)
            back.join()

    with serve(forward) as endpoint:
        yield endpoint


def test_a_large_upload_to_a_slow_store_takes_longer_than_a_call_may(stack: Stack) -> None:
    data = b"x" * 11_000_000
    with slow_down(stack.settings.s3_endpoint or "", 8_000_000) as endpoint:
        bucket = Bucket(stack.settings.model_copy(update={"s3_endpoint": endpoint}), SHORT)
        bucket.put_file("uploads/large", io.BytesIO(data), media_type="text/plain")
        bucket.put("uploads/one", data, media_type="text/plain")
    assert Bucket(stack.settings).get("uploads/large") == Bucket(stack.settings).get("uploads/one") == data


def test_temporary_credentials_send_their_session_token() -> None:
    heads: list[bytes] = []

    def record(connection: socket.socket) -> None:
        with connection:
            heads.append(connection.recv(65_536))

    with serve(record) as endpoint:
        settings = Settings.model_validate(
            {"s3_endpoint": endpoint, "s3_access_key": "ASIA", "s3_session_token": "temporary"}
        )
        with pytest.raises(Unavailable):
            Bucket(settings, SHORT).get("key")
    assert b"x-amz-security-token: temporary" in heads[0].lower()


def test_without_keys_the_credentials_of_aws_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().s3_credentials == {}
    assert Settings(s3_endpoint="http://127.0.0.1:1").s3_credentials["aws_access_key_id"] == "archetype"
    assert Settings(s3_access_key="mine").s3_credentials["aws_access_key_id"] == "mine"
    assert Settings(s3_endpoint="http://127.0.0.1:1", s3_aws_credentials=True).s3_credentials == {}


def test_a_store_on_the_loopback_is_never_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    seen = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            seen.set()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serve(answer) as endpoint:
        assert Bucket(Settings(s3_endpoint=endpoint), SHORT).get("key") == b"ok"
    assert seen.is_set()
