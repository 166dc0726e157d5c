"""A connection that waits, without a thread, for its client to send a request or to read the last response."""

import socket
from typing import Any

from gunicorn.workers.gthread import TConn

from api.server.client_socket import ClientSocket
from api.server.limits import LINGER_SECONDS, ClientLimits
from api.server.request_buffer import Progress


class Connection(TConn):  # type: ignore[misc]
    """A connection of gunicorn with the deadline of its wait.

    Attributes:
        since: When the wait, or the request, began.
        is_long: Whether a thread reads a long body from the connection.
        lingers: Whether the last response was sent, and the connection waits only for the client to read it.
    """

    sock: ClientSocket

    def __init__(self, cfg: Any, sock: ClientSocket, client: Any, server: Any, *, limits: ClientLimits) -> None:
        super().__init__(cfg, sock, client, server)
        self.data_ready = True  # gunicorn does not wait for the client before it parses
        self.is_long = self.lingers = False
        self.since = self._until = 0.0
        self._limits, self._discarded, self._counted = limits, 0, 0

    def begin_wait(self, now: float, seconds: float) -> None:
        """Begins to wait for the first byte of a request, or for the client to close the connection."""
        self.sock.setblocking(False)
        self.since, self._until = now, now + (LINGER_SECONDS if self.lingers else seconds)

    def end_wait_by(self, deadline: float) -> None:
        """Ends the wait for the first byte of a request earlier."""
        self._until = min(self._until, deadline)

    @property
    def has_begun(self) -> bool:
        """Whether a part of a request has arrived."""
        return not self.lingers and self.sock.buffer.progress is not Progress.IDLE

    def add(self, data: bytes, now: float) -> int:
        """Adds bytes of a request. The time of the client begins with the first one.

        Returns:
            How many more bytes are on disk.

        Raises:
            OSError: The disk is full.
        """
        if not self.has_begun:
            self.since = now
        self.sock.buffer.add(data)
        before, self._counted = self._counted, self.sock.buffer.spooled
        return self._counted - before

    def release(self) -> int:
        """Returns how many bytes on disk were counted, and counts from the beginning."""
        counted, self._counted = self._counted, 0
        return counted

    def is_late(self, now: float) -> bool:
        """Whether the client has used up its time."""
        if not self.has_begun:
            return now > self._until
        buffer = self.sock.buffer
        return now - self.since > self._limits.allow(buffer.size if buffer.progress is Progress.BODY else 0)

    def end_writing(self) -> bool:
        """Tells the client that nothing more is sent. Returns whether the client is still connected."""
        self.lingers = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def discard(self, data: bytes, limit: int) -> bool:
        """Counts bytes that are not read any more. Returns whether they are within the limit."""
        self._discarded += len(data)
        return self._discarded <= limit
