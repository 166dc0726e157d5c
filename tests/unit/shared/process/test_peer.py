"""The account behind a connection over the loopback interface."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.process import peer as peer_module
from shared.process.peer import TABLES, is_own_account
from shared.process.socket_owner import End

pytestmark = pytest.mark.skipif(not TABLES[0].exists(), reason="needs /proc/net/tcp")
NOBODY = 65534
CONNECT = (
    "import socket, sys; c = socket.create_connection(('{host}', {port})); c.sendall(b'x'); {then}; sys.stdin.read()"
)


@pytest.fixture(params=["asked", "read from the table"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to find the account: Linux is asked for one socket, or does not answer and its table is read."""
    if request.param == "asked":
        monkeypatch.setattr(peer_module, "_list_sockets", lambda: ())
    else:
        monkeypatch.setattr(peer_module, "find_owner", lambda *_: None)


@contextmanager
def connected(host: str, *, user: int | None = None, then: str = "pass") -> Iterator[tuple[End, End]]:
    """A connection that another program has opened: its end, and the end of the server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        code = CONNECT.format(host=host, port=port, then=then)
        command = ["python3" if user is not None else sys.executable, "-c", code]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, user=user, cwd="/")
        try:
            server.settimeout(60)
            connection, address = server.accept()
            with connection:
                connection.settimeout(60)
                assert connection.recv(1) == b"x"
                if then != "pass":
                    assert connection.recv(1) == b""
                yield End(*address[:2]), End(host, port)
        finally:
            program.kill()
            program.wait()
            assert program.stdin is not None
            program.stdin.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_program_of_the_same_account_is_recognized(host: str) -> None:
    with connected(host) as (peer, server):
        assert is_own_account(peer, server)
        assert is_own_account(peer._replace(host="::ffff:127.0.0.1" if host == "127.0.0.1" else host), server)
        assert not is_own_account(peer, server._replace(port=server.port + 1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_program_of_another_account_is_not_of_this_one(host: str) -> None:
    with connected(host, user=NOBODY) as (peer, server):
        assert not is_own_account(peer, server)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_a_connection_that_its_program_has_closed_counts_as_that_of_another_account() -> None:
    """Linux lists such a socket with the user 0."""
    with connected("127.0.0.1", user=NOBODY, then="c.close()") as (peer, server):
        assert not is_own_account(peer, server)
