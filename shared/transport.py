"""The way to Redis for messages: kombu's, which takes what Redis refuses for a connection that is to be made again."""

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Transport as RedisTransport
from redis import ResponseError


class Transport(RedisTransport):
    """kombu's transport, and one kind of error more that a worker survives.

    A Redis whose disk or memory is full answers, and refuses to write. kombu takes that for a fault of the program, and
    the worker stops for good; it is a state, and passes.
    """

    connection_errors = (*RedisTransport.connection_errors, ResponseError)


def use_for_redis() -> None:
    """From now on, addresses that begin with `redis://` or `rediss://` lead here."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
