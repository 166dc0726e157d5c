"""The way to Redis for messages: kombu's, which survives a Redis that answers and refuses to write.

One whose disk or memory is full does so. kombu takes that for a fault of the program, and the worker stops for good; it
is a state, and passes.
"""

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as plain
from kombu.transport.virtual import QoS as Noted
from redis import ResponseError


class QoS(plain.QoS):
    """What is done is done, also where Redis refuses to note it: else the message would keep its place in the worker,
    and the worker, which has one place, would never take another. Redis delivers it once more, which is harmless."""

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except ResponseError:
            Noted.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue=requeue)
        except ResponseError:
            Noted.ack(self, delivery_tag)


class Channel(plain.Channel):
    """kombu's channel with these acknowledgements."""

    QoS = QoS


class Transport(plain.Transport):
    """kombu's transport, for which a refusal is a connection that is to be made again."""

    Channel = Channel
    connection_errors = (*plain.Transport.connection_errors, ResponseError)


def use_for_redis() -> None:
    """From now on, addresses that begin with `redis://` or `rediss://` lead here."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
