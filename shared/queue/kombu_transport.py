"""Kombu's Redis transport, changed to survive a Redis that answers but refuses to write.

Redis refuses writes while its disk or memory is full. Kombu treats this as a programming error, and the worker stops
permanently. Here it is a connection error: the worker connects again until Redis accepts writes.
"""

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as plain
from kombu.transport.virtual import QoS as LocalQoS
from redis import ResponseError


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
