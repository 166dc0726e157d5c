"""A TCP proxy that can be shut, as if the server behind it had gone away."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HOST = "127.0.0.1"
RESET_AT_ONCE = struct.pack("ii", 1, 0)


class Gate:
    """Forwards connections to a port of the loopback interface. While it is shut, it refuses them.

    Attributes:
        port: The port on which it listens.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port, self.port = to_port, 0
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Accepts connections, always on the same port."""
        self._listener = socket.create_server((HOST, self.port), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), name="gate", daemon=True).start()

    def shut(self) -> None:
        """Resets all connections, and refuses new ones."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            self._listener.close()
            self._listener = None
        for connection in list(self._open):
            _reset(connection)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((HOST, self._to_port))
                self._open |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        self._open -= {source, sink}
        _reset(source)
        _reset(sink)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def open_gate(to_port: int) -> Iterator[Gate]:
    """An open gate until the block ends."""
    gate = Gate(to_port)
    gate.open()
    try:
        yield gate
    finally:
        gate.shut()
