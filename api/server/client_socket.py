"""The connection to a client, whose reads and writes in a thread end if the client is too slow."""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from api.server.limits import ClientLimits
from api.server.request_buffer import RequestBuffer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class SlowClient(TimeoutError):
    """The client sends or receives less than the rate that it must keep up."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EPIPE, message)  # gunicorn ends the exchange, as if the client had gone


class ClientSocket(socket.socket):
    """A socket that yields a stored request first, then reads on; every wait for the client is limited.

    Attributes:
        buffer: The request that has arrived.
        slow: Whether the client was too slow, so that the connection cannot be used again.
    """

    def __init__(
        self, accepted: socket.socket, limits: ClientLimits, writers: "BlockedWriters", clock: Callable[[], float]
    ) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.buffer = RequestBuffer(limits.stored_bytes)
        self._limits, self._writers, self._clock = limits, writers, clock
        self._read, self._read_waited = 0, 0.0
        self._written, self._write_waited = 0, 0.0
        self._blocked_since: float | None = None
        self._has_continued = self.slow = False

    def begin(self) -> None:
        """Gives the client its time for the exchange that begins."""
        self.buffer.rewind()
        self.slow = False
        self._read, self._read_waited = 0, 0.0
        self._written, self._write_waited = 0, 0.0

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Returns bytes of the stored request, then bytes from the client. Raises `SlowClient`."""
        data = self.buffer.read(bufsize)
        if data:
            return data
        started, before = self._clock(), self.gettimeout()
        self.settimeout(_left(self._limits.allow(self._read) - self._read_waited, before))
        try:
            data = super().recv(bufsize, flags)
        except TimeoutError as error:
            self.slow = True
            raise SlowClient("the client sends its request too slowly") from error
        finally:
            self._read_waited += self._clock() - started
            self.settimeout(before)
        self._read += len(data)
        return data

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """Sends bytes. Raises `SlowClient` if the client has not read them within its time."""
        view = memoryview(data).cast("B")
        with suppress(BlockingIOError):
            view = view[super().send(view, flags | socket.MSG_DONTWAIT) :]
        if view:
            with self._writers.admit(self):
                self._send_blocking(view, flags)

    def _send_blocking(self, view: memoryview, flags: int) -> None:
        before, self._blocked_since = self.gettimeout(), self._clock()
        try:
            while view:
                self.settimeout(_left(-self.debt, None))
                sent = super().send(view, flags)
                self._written += sent
                view = view[sent:]
        except TimeoutError as error:
            self.slow = True
            raise SlowClient("the client reads the response too slowly") from error
        finally:
            self._write_waited += self._clock() - self._blocked_since
            self._blocked_since = None
            self.settimeout(before)

    @property
    def debt(self) -> float:
        """By how many seconds the client has exceeded its time to read the response; negative if it has time left."""
        since = self._blocked_since
        waited = self._write_waited + (self._clock() - since if since is not None else 0)
        return waited - self._limits.allow(self._written)

    def abort(self) -> None:
        """Ends the connection, so that a thread that waits for the client continues with an error."""
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def receive_waiting(self) -> bytes | None:
        """Returns the bytes that have arrived, empty at the end of the connection, or None if there are none."""
        try:
            return super().recv(min(self.buffer.missing, 1 << 18) or 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def permit_body(self) -> None:
        """Sends the interim response for which a client with `Expect: 100-continue` waits."""
        self.send_at_once(CONTINUE)
        self._has_continued, self.buffer.expects_continue = True, False

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        """Sends bytes, but no second interim response."""
        if self._has_continued and data == CONTINUE:
            return len(data)
        return super().send(data, flags)

    def take_rest(self) -> bytes:
        """Returns what has arrived of the next request, and forgets the last one."""
        rest = self.buffer.read(-1) if self.buffer.spooled == 0 else b""
        self.buffer.close()
        self.buffer, self._has_continued = RequestBuffer(self._limits.stored_bytes), False
        return rest

    def send_at_once(self, data: bytes) -> None:
        """Sends what the client can take at once, and discards the rest."""
        with suppress(OSError):
            super().send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """Closes the connection and deletes the stored request."""
        self.buffer.close()
        super().close()


class BlockedWriters:
    """The threads that wait for clients to read responses: at most a number of them.

    If another thread has to wait, the client that has exceeded its time most, or has least of it left, is disconnected.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._lock = limit, Lock()
        self._blocked: set[ClientSocket] = set()

    @contextmanager
    def admit(self, client: ClientSocket) -> Iterator[None]:
        """Counts a thread while it waits."""
        with self._lock:
            if len(self._blocked) >= self._limit:
                slowest = max(self._blocked, key=lambda blocked: blocked.debt)
                self._blocked.discard(slowest)
                slowest.abort()
            self._blocked.add(client)
        try:
            yield
        finally:
            with self._lock:
                self._blocked.discard(client)


def _left(seconds: float, given: float | None) -> float:
    """Returns the timeout of the next call: not 0, which would mean a call that does not wait."""
    left = max(seconds, 0.001)
    return left if given is None else min(left, max(given, 0.001))
