"""The bytes of a request that a client has sent so far, stored until the application can read all of them at once.

The head is searched only for its end and for the length of the body; gunicorn parses the request. If both disagree
about where a request ends, the application waits for the client in a thread, for a limited time.
"""

import re
import tempfile
from enum import Enum, auto
from typing import IO

from api.server.limits import MAX_HEAD_BYTES, MAX_SPOOLED_BYTES

HEAD_END = re.compile(rb"\r?\n\r?\n")
BODY_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$")
CHUNKED = re.compile(rb"(?im)^transfer-encoding[ \t]*:")
CONTINUE = re.compile(rb"(?im)^expect[ \t]*:[ \t]*100-continue")
HEALTH = re.compile(rb"(?:GET|HEAD) /healthz[ ?]")
MEMORY_BYTES = 65_536


class Progress(Enum):
    """What is known about a request."""

    IDLE = auto()
    """Nothing has arrived."""

    HEAD = auto()
    """The head is not complete."""

    BODY = auto()
    """The body is not complete."""

    COMPLETE = auto()
    """The whole request has arrived."""

    LONG = auto()
    """The head has arrived; the body is chunked, or too long to be stored."""

    TOO_LONG = auto()
    """The head is too long."""


class RequestBuffer:
    """One request: its head in memory, its body in memory or, if it is larger, in a temporary file.

    Args:
        stored_bytes: A longer body is not stored.

    Attributes:
        progress: What is known about the request.
        size: Number of bytes that have arrived.
        expects_continue: Whether the client waits for permission to send the body.
        is_health_check: Whether the request is for `/healthz`.
    """

    def __init__(self, stored_bytes: int = MAX_SPOOLED_BYTES) -> None:
        self._stored_bytes = stored_bytes
        self.progress = Progress.IDLE
        self.size = 0
        self.expects_continue = self.is_health_check = False
        self._head = bytearray()
        self._end = 0
        self._file: IO[bytes] | None = None

    def add(self, data: bytes) -> None:
        """Adds bytes that have arrived."""
        if not data:
            return
        self.size += len(data)
        if self._file is not None:
            self._file.write(data)
        else:
            self._head += data
        if self.progress in (Progress.IDLE, Progress.HEAD):
            self._read_head(len(data))
        if self.progress is Progress.BODY:
            self._check_body()

    def _read_head(self, added: int) -> None:
        self.progress = Progress.HEAD
        end = HEAD_END.search(self._head, max(0, len(self._head) - added - 3))
        if end is None or end.end() > MAX_HEAD_BYTES:
            self.progress = Progress.TOO_LONG if len(self._head) > MAX_HEAD_BYTES else Progress.HEAD
            return
        head = bytes(self._head[: end.end()])
        lengths = [int(length) for length in BODY_LENGTH.findall(head)]
        length = max(lengths, default=0)
        self.is_health_check = HEALTH.match(head) is not None and not length
        self.expects_continue = CONTINUE.search(head) is not None
        self._end = end.end() + length
        is_long = length > self._stored_bytes or CHUNKED.search(head) is not None
        self.progress = Progress.LONG if is_long else Progress.BODY

    def _check_body(self) -> None:
        if self.size >= self._end:
            self.progress = Progress.COMPLETE
        elif self._file is None and self._end > MEMORY_BYTES:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._file.write(self._head)
            self._head.clear()

    @property
    def spooled(self) -> int:
        """Number of bytes in a temporary file."""
        return self.size if self._file is not None else 0

    @property
    def missing(self) -> int:
        """How many bytes of a body that is stored have not arrived."""
        return self._end - self.size if self.progress is Progress.BODY else MEMORY_BYTES

    def rewind(self) -> None:
        """Prepares the bytes to be read from the beginning."""
        if self._file is not None:
            self._file.seek(0)

    def read(self, size: int) -> bytes:
        """Returns and removes up to `size` bytes, all if it is negative; empty at the end."""
        if self._file is not None:
            return self._file.read(size)
        end = len(self._head) if size < 0 else size
        data = bytes(self._head[:end])
        del self._head[:end]
        return data

    def close(self) -> None:
        """Deletes the temporary file."""
        if self._file is not None:
            self._file.close()
            self._file = None
