"""The time of a client, on a clock of the test."""

import socket
from collections.abc import Iterator

import pytest

from api.server.client_socket import BlockedWriters, ClientSocket
from api.server.limits import ClientLimits

LIMITS = ClientLimits(seconds=20, rate=100)


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket, list[float]]]:
    ours, theirs = socket.socketpair()
    clock = [0.0]
    client = ClientSocket(ours, LIMITS, BlockedWriters(1), lambda: clock[0])
    client.setblocking(True)
    yield client, theirs, clock
    client.close()
    theirs.close()


def test_a_client_has_a_fixed_time_and_what_its_rate_allows() -> None:
    assert LIMITS.allow(0) == 20
    assert LIMITS.allow(1000) == 30


def test_only_the_time_that_a_thread_waits_counts(pair: tuple[ClientSocket, socket.socket, list[float]]) -> None:
    client, theirs, clock = pair
    client.sendall(b"a")
    clock[0] = 1000  # the application computes
    client.sendall(b"b")
    assert client.debt == -20
    assert theirs.recv(10) == b"ab"


def test_if_too_many_threads_wait_the_client_with_the_least_time_left_is_disconnected() -> None:
    writers, clock = BlockedWriters(1), [0.0]
    pairs = [socket.socketpair() for _ in range(2)]
    slow, other = (ClientSocket(ours, LIMITS, writers, lambda: clock[0]) for ours, _ in pairs)
    with writers.admit(slow), writers.admit(other):
        assert pairs[0][1].recv(1) == b""
        pairs[1][1].setblocking(False)
        with pytest.raises(BlockingIOError):
            pairs[1][1].recv(1)
    for client in (slow, other, pairs[0][1], pairs[1][1]):
        client.close()
