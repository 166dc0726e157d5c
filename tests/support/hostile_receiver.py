"""Receivers of webhooks that try to hold a sender: TCP servers on the loopback with a script for a connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Script = Callable[[socket.socket, threading.Event], None]
"""What a receiver does with a connection, until the event is set or the connection breaks."""

DRIP_SECONDS = 0.3


@contextmanager
def hostile_receiver(script: Script) -> Iterator[int]:
    """Runs a receiver; yields its port. At most ten thousand blocks are sent to a connection."""
    stopped = threading.Event()
    server = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            script(connection, stopped)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(server.getsockname()[1])
    finally:
        stopped.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def answer(head: bytes) -> Script:
    """Sends the bytes and closes the connection."""

    def run(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65_536)
        connection.sendall(head)

    return run


def silent(connection: socket.socket, stopped: threading.Event) -> None:
    """Accepts the connection and never reads or sends."""
    stopped.wait(120)


def drip(text: bytes) -> Script:
    """Sends one byte at a time, forever."""

    def run(connection: socket.socket, stopped: threading.Event) -> None:
        for index in range(10_000):
            connection.sendall(text[index % len(text) :][:1])
            if stopped.wait(DRIP_SECONDS):
                return

    return run


def repeat(begin: bytes, block: bytes) -> Script:
    """Sends a beginning, then the same block without end, as fast as the connection takes it."""

    def run(connection: socket.socket, stopped: threading.Event) -> None:
        connection.recv(65_536)
        connection.sendall(begin)
        for _ in range(10_000):
            if stopped.is_set():
                return
            connection.sendall(block)

    return run


def repeat_slowly(block: bytes) -> Script:
    """Sends a complete block every few tenths of a second, forever."""

    def run(connection: socket.socket, stopped: threading.Event) -> None:
        connection.recv(65_536)
        for _ in range(10_000):
            connection.sendall(block)
            if stopped.wait(DRIP_SECONDS):
                return

    return run
