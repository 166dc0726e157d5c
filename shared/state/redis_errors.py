"""Names the cause of an error of Redis."""

import re

import redis

from shared.errors import Refused, Unavailable

CLUSTER = (
    "it runs in cluster mode, which the service does not support, because its transactions use keys of several slots; "
    "use a single Redis, or one with replicas and Sentinel"
)

RESPONSES = (
    (
        r"WRONGPASS|NOAUTH|invalid (username|password)|authentication required|\bAUTH\b",
        "the password is wrong; check ARCHETYPE_REDIS_URL",
    ),
    (r"NOPERM|no permission", "the user has no permission for a command or key; see the ACL in `deploy/setup.py`"),
    (r"\bOOM\b|used memory", "its memory is full (maxmemory); raise maxmemory or delete data"),
    (r"MISCONF", "it cannot save to its disk; free space, or check its log"),
    (
        r"READONLY|read only replica|MASTERDOWN|link with master",
        "it is a replica, probably during a failover; try again in a moment",
    ),
    (r"\bMOVED\b|CROSSSLOT|same slot|CLUSTERDOWN|\bASK\b", CLUSTER),
    (r"LOADING|loading the dataset", "it is loading its data after a start; try again in a moment"),
    (r"max number of clients", "it has its maximum number of connections (maxclients)"),
)
"""Causes by patterns of the error text of Redis, with and without its first word, which redis-py removes."""

CONNECTIONS = (
    (r"name or service not known|name resolution|getaddrinfo|nodename", "its host name has no address (DNS)"),
    (r"refused", "the connection was refused; check that it runs, and ARCHETYPE_REDIS_URL"),
    (r"certificate|ssl", "its TLS certificate or protocol is not accepted; check ARCHETYPE_CA_BUNDLE"),
    (r"timeout|timed out", "no answer in time; try again in a moment"),
)
"""Causes by patterns of the error of the connection."""


def explain(error: Exception) -> Unavailable:
    """Returns the problem of an error of redis-py, with the cause and what to do."""
    text = str(error)
    reason = _find(RESPONSES, text)
    if reason is not None:
        # A replica, and a Redis that loads its data, are temporary: the next call may find another server.
        return Refused(f"the queue (Redis) refuses commands: {reason}")
    if isinstance(error, redis.ResponseError):
        return Refused(f"the queue (Redis) refuses a command: {text}")
    reason = _find(CONNECTIONS, text) or "try again in a moment"
    return Unavailable(f"the queue (Redis) does not answer: {reason}")


def _find(causes: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((cause for pattern, cause in causes if re.search(pattern, text, re.IGNORECASE)), None)
