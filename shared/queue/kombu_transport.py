"""Kombu's Redis transport, changed to survive a Redis that answers but refuses to write.

Redis refuses writes while its disk or memory is full. Kombu treats this as a programming error, and the worker stops
permanently. Here it is a connection error: the worker connects again until Redis accepts writes.
"""

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as plain
from kombu.transport.virtual import QoS as LocalQoS
from kombu.utils.scheduling import round_robin_cycle
from redis import ResponseError

RELEASES = "releases"
"""The queue of the messages that make workers check registered releases."""

TURNS = f"{__name__}:Turns"
"""Name of `Turns` in the options of the transport."""


class Turns(round_robin_cycle):  # type: ignore[type-arg]
    """The order in which a worker reads its queues: as they were given, but release checks and jobs take turns.

    Behind jobs, a check would wait as long as there are jobs; before them, many checks would delay all jobs.
    """

    _checked_last = False

    def consume(self, n: int) -> list[str]:  # type: ignore[override]
        """The queues in the order in which they are read."""
        return sorted(self.items or [], key=lambda queue: (queue == RELEASES) == self._checked_last)[:n]

    def rotate(self, last_used: str) -> None:
        """Notes from which queue the last message came."""
        self._checked_last = last_used == RELEASES


class QoS(plain.QoS):
    """Releases a message in the worker even if Redis refuses the acknowledgement.

    Otherwise the message would occupy the only slot of the worker, and the worker would never receive another one.
    Redis delivers the message again, which is harmless.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledges a message."""
        try:
            super().ack(delivery_tag)
        except ResponseError:
            LocalQoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Rejects a message."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        except ResponseError:
            LocalQoS.ack(self, delivery_tag)


class Channel(plain.Channel):
    """Kombu's channel with this `QoS`."""

    QoS = QoS


class Transport(plain.Transport):
    """Kombu's transport, which connects again if Redis refuses a command."""

    Channel = Channel
    connection_errors = (*plain.Transport.connection_errors, ResponseError)


def use_for_redis() -> None:
    """Makes Kombu use this transport for addresses that begin with `redis://` or `rediss://`."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
