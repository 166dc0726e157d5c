"""How long a client may take to send a request and to receive a response."""

from dataclasses import dataclass

MAX_HEAD_BYTES = 65_536
"""Largest head of a request. gunicorn limits its lines and fields further."""

MAX_SPOOLED_BYTES = 1 << 25
"""A longer body is not stored by the server: the application refuses it, or reads it, in one of few threads."""

MAX_SPOOL_BYTES = 1 << 30
"""Bodies on disk of all connections together."""

LONG_BODIES = 8
"""Threads that read long bodies at the same time."""

BLOCKED_WRITERS = 24
"""Threads that wait at the same time for a client to read a response."""

PROBES = 2
"""Threads that answer `/healthz` and nothing else."""

WORKING = 32
"""Threads that no event stream, long body or slow reader can occupy."""

LINGER_SECONDS, LINGER_BYTES = 2.0, 65_536
"""How long, and for how many bytes, a connection stays open after its last response, so that the client reads it."""


@dataclass(frozen=True)
class ClientLimits:
    """The time that a client has, and the rate that it must keep up afterwards.

    Attributes:
        seconds: Time for the head of a request, and for its body and the response in addition to what the rate allows.
        rate: Bytes per second.
        stored_bytes: A longer body is not stored by the server.
    """

    seconds: float
    rate: float
    stored_bytes: int = MAX_SPOOLED_BYTES

    def allow(self, bytes_moved: int) -> float:
        """Returns the seconds that a client may have taken for this number of bytes."""
        return self.seconds + bytes_moved / self.rate
