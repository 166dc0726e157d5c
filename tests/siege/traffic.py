"""Bounded traffic of an attacker: connections that are slow on purpose, and callers that repeat a request."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self

TICK_SECONDS = 0.5
CONNECT_SECONDS = 2.0


class SlowConnections:
    """Keeps a number of connections open, and opens a connection again that the service has closed.

    Attributes:
        opened: How many connections were opened in total.

    Args:
        address: `host:port` of the service.
        opening: What each connection sends first.
        count: The number of connections.
        drip: What each connection sends at every tick.
        reads: The bytes that each connection reads at every tick; 0 for as many as there are.
    """

    def __init__(self, address: str, opening: bytes, *, count: int, drip: bytes = b"", reads: int = 0) -> None:
        host, _, port = address.rpartition(":")
        self.opened = 0
        self._target, self._opening, self._drip, self._reads = (host, int(port)), opening, drip, reads
        self._connections: list[socket.socket | None] = [None] * count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow-connections", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        for connection in self._connections:
            if connection is not None:
                connection.close()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return sum(connection is not None for connection in self._connections)

    def _run(self) -> None:
        while not self._stop.is_set():
            for place, connection in enumerate(self._connections):
                if self._stop.is_set():
                    return
                self._connections[place] = self._open() if connection is None else self._keep(connection)
            self._stop.wait(TICK_SECONDS)

    def _open(self) -> socket.socket | None:
        connection = socket.socket()
        try:
            connection.settimeout(CONNECT_SECONDS)
            if self._reads:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(self._target)
            connection.sendall(self._opening)
            connection.setblocking(False)
        except OSError:
            connection.close()
            return None
        self.opened += 1
        return connection

    def _keep(self, connection: socket.socket) -> socket.socket | None:
        """Returns the connection after a tick; None if the service has closed it."""
        try:
            with suppress(BlockingIOError):
                if not connection.recv(self._reads or 65_536):
                    raise ConnectionResetError
            if self._drip:
                with suppress(BlockingIOError):
                    connection.send(self._drip)
        except OSError:
            connection.close()
            return None
        return connection


class Crowd:
    """Callers that repeat a call in parallel, each with a pause, until the block ends.

    Attributes:
        answers: How often each status was answered; None for a call that failed.

    Args:
        call: Sends one request and returns its status.
        count: The number of callers.
        pause: Seconds between two calls of a caller.
        calls: The largest number of calls in total.
    """

    def __init__(
        self, call: Callable[[], int | None], *, count: int, pause: float = 0.05, calls: int = 100_000
    ) -> None:
        self.answers: Counter[int | None] = Counter()
        self._call, self._pause, self._left = call, pause, calls
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name="crowd", daemon=True) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.wait(60)

    def stop(self) -> None:
        """Lets no caller begin another call."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Waits until all calls have been made, at most a number of seconds."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def describe(self) -> str:
        """Returns the number of answers by status."""
        return ", ".join(f"{count} × {status or 'no answer'}" for status, count in self.answers.most_common())

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                if not self._left:
                    return
                self._left -= 1
            status = self._call()
            with self._lock:
                self.answers[status] += 1
            self._stop.wait(self._pause)


def call(
    address: str,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    seconds: float = 20,
) -> tuple[int | None, dict[str, Any]]:
    """Sends a request on a new connection.

    Returns:
        The status and the JSON object of the response; None and an empty object if there is no answer.
    """
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        document = json.loads(response.read() or b"{}")
        return response.status, document if isinstance(document, dict) else {}
    except ValueError:
        return response.status, {}
    except (OSError, http.client.HTTPException):
        return None, {}
    finally:
        connection.close()


BOUNDARY = "siege"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def make_form(content: bytes, name: str) -> bytes:
    """Returns a multipart form with a file in the field `file`."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
