"""The server in front of slow, greedy and broken clients: everyone else is answered."""

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from deploy.local import API, free_port
from deploy.processes import ProcessGroup
from tests.support.paths import ROOT
from tests.support.plain_wsgi import BIG
from tests.support.waiting import wait_until

CROWD = 300
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Half: "
BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\nabc"
LONG_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000000\r\n\r\nabc"
CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
READER = b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSER = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SILENT = b""


class Server:
    """A server of the plain application."""

    def __init__(self, processes: ProcessGroup, host: str, port: int) -> None:
        self.processes, self.host, self.port = processes, host, port

    def connect(self, data: bytes = b"") -> socket.socket:
        connection = socket.create_connection((self.host, self.port), timeout=30)
        connection.sendall(data)
        return connection

    def ask(self, path: str = "/", body: bytes | None = None) -> tuple[int, bytes]:
        asking = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            asking.request("GET" if body is None else "POST", path, body)
            response = asking.getresponse()
            return response.status, response.read()
        finally:
            asking.close()


@contextmanager
def run_server(folder: Path, *, host: str = "127.0.0.1", **settings: object) -> Iterator[Server]:
    """Runs the plain application with the command line of the API."""
    port = free_port()
    environment = {f"ARCHETYPE_{name.upper()}": str(value) for name, value in settings.items()}
    processes = ProcessGroup(folder, {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}", **environment})
    (folder / "log").mkdir(parents=True)
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with processes.run("api", [*API, "tests.support.plain_wsgi:app", "--bind", bind]):
        server = Server(processes, host, port)
        processes.wait_for("api", server.ask)
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_server(tmp_path_factory.mktemp("server"), client_seconds=600) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose clients have one second."""
    with run_server(tmp_path_factory.mktemp("strict"), client_seconds=1, max_connections=128) as running:
        yield running


@contextmanager
def crowd(server: Server, data: bytes, number: int = CROWD) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(server.connect(data)) for _ in range(number)]


@pytest.mark.parametrize("data", [SILENT, HEAD, BODY, LONG_BODY, CHUNKED, READER, CLOSER])
def test_a_crowd_of_slow_clients_does_not_delay_others(server: Server, data: bytes) -> None:
    with crowd(server, data):
        for path in ("/healthz", "/"):
            assert server.ask(path)[0] == 200
        assert server.ask("/", b"x" * 3_000_000)[1].startswith(b"3000000 ")


@pytest.mark.parametrize("data", [HEAD, BODY])
def test_a_request_that_does_not_arrive_in_time_gets_a_problem_document(strict: Server, data: bytes) -> None:
    with strict.connect(data) as connection:
        assert b"408 Request Timeout" in connection.recv(65_536)


@pytest.mark.parametrize("data", [SILENT, LONG_BODY, CHUNKED])
def test_a_connection_ends_if_its_client_is_too_slow(strict: Server, data: bytes) -> None:
    with strict.connect(data) as connection:
        wait_until(lambda: connection.recv(65_536) == b"", 30, message="still connected")


@pytest.mark.parametrize("data", [HEAD, BODY])
def test_a_byte_now_and_then_does_not_extend_the_time(strict: Server, data: bytes) -> None:
    with strict.connect(data) as connection:
        connection.settimeout(0.1)
        wait_until(lambda: b" 408 " in _drip(connection), 30, message="not ended")


def _drip(connection: socket.socket) -> bytes:
    try:
        connection.sendall(b"a")
        return connection.recv(65_536)
    except TimeoutError:
        return b""


def test_a_client_that_does_not_read_is_disconnected(strict: Server) -> None:
    with strict.connect(READER) as connection:
        time.sleep(3)
        assert _read_all(connection) < BIG


def test_a_client_that_reads_gets_the_whole_response(strict: Server) -> None:
    with strict.connect(READER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as connection:
        assert _read_all(connection) > BIG


def test_more_connections_than_allowed_close_the_oldest(strict: Server) -> None:
    with crowd(strict, SILENT, 400):
        assert strict.ask()[0] == 200


def test_long_bodies_beyond_the_threads_for_them_are_refused_with_the_reason(server: Server) -> None:
    with crowd(server, LONG_BODY, 8):
        wait_until(lambda: b"long bodies" in _first(server, LONG_BODY), 30, message="not refused")


def _first(server: Server, data: bytes) -> bytes:
    with server.connect(data) as connection:
        connection.settimeout(1)
        try:
            return connection.recv(65_536)
        except TimeoutError:
            return b""


def test_a_long_body_reaches_the_application_whole(server: Server) -> None:
    assert wait_until(lambda: _send_long_body(server), 60).startswith(b"40000000 ")


def _send_long_body(server: Server) -> bytes:
    """The answer; empty if the server still reads the long bodies of the test before and refuses this one."""
    with suppress(OSError):
        status, body = server.ask("/", b"y" * 40_000_000)
        return body if status == 200 else b""
    return b""


def test_requests_that_arrive_together_are_answered_in_order(server: Server) -> None:
    one = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with server.connect(one % 3 + b"abc" + one % 200_000 + b"x" * 200_000 + one % 1 + b"a" + last) as connection:
        received = _collect(connection)
    bodies = [part.partition(b"\r\n\r\n")[2].partition(b" ")[0] for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"3", b"200000", b"1", b"0"]


def test_a_request_byte_by_byte_is_answered(server: Server) -> None:
    with server.connect() as connection:
        for byte in CLOSER:
            connection.sendall(bytes([byte]))
        assert b"200 OK" in _collect(connection)


def test_a_client_that_asks_before_it_sends_a_body_gets_one_permission(server: Server) -> None:
    head = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"
    )
    with server.connect(head) as connection:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        received = _collect(connection)
        assert received.count(b"HTTP/1.1") == 1
        assert received.partition(b"\r\n\r\n")[2].startswith(b"3 ")


@pytest.mark.parametrize(
    ("data", "slug"),
    [
        (b"GET / HTTP/1.1\r\nAuthorization: Bearer " + b"a" * 9000 + b"\r\n\r\n", "header-too-large"),
        (b"GET / HTTP/1.1\r\nAuthorization: Bearer " + b"a" * 90_000 + b"\r\n\r\n", "header-too-large"),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", "header-too-large"),
        (b"nonsense\r\n\r\n", "invalid-http"),
        (b"GET / HTTP/1.1\r\nBad Header: 1\r\n\r\n", "invalid-http"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "invalid-http"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "invalid-http"),
    ],
)
def test_what_the_server_refuses_is_a_problem_document(server: Server, data: bytes, slug: str) -> None:
    with server.connect(data) as connection:
        head, _, body = _collect(connection).partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == f"/problems/{slug}"


def test_the_application_sees_the_address_of_the_client(tmp_path: Path) -> None:
    with run_server(tmp_path / "v6", host="::1") as server:
        assert server.ask()[1] == f"0 ::1 {server.port}".encode()


def test_a_request_is_answered_while_the_server_stops(tmp_path: Path) -> None:
    with run_server(tmp_path / "stopping") as server, server.connect(BODY) as connection:
        server.processes.children["api"].send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(b"a" * 89_997)
        assert b"90000 " in _collect(connection)
        assert server.processes.children["api"].wait(30) == 0


def _read_all(connection: socket.socket) -> int:
    return sum(map(len, iter(lambda: connection.recv(1 << 20), b"")))


def _collect(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))
