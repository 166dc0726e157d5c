"""The Redis client, which translates errors of Redis to problems."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis
import structlog
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from shared.errors import Refused, Unavailable
from shared.process.circuit_breaker import CircuitBreaker
from shared.process.shared_clock import SharedClock
from shared.settings import Settings
from shared.state.keys import key
from shared.state.redis_connections import Watchdog, WatchedConnection, WatchedTlsConnection
from shared.state.redis_errors import CLUSTER, explain

log = structlog.get_logger()

PROBE_SECONDS = 60


@dataclass(frozen=True)
class RedisPatience:
    """How long, and how often, a process tries a command.

    Attributes:
        seconds: Time for a part of an answer.
        connect_seconds: Time to connect.
        total_seconds: Time for a whole answer.
        retries: How often a command is tried again, on a new connection.
        retries_timeouts: Whether a command without an answer in time is tried again, too.
        remembers: Whether commands are refused at once for some seconds after failures in a row.
    """

    seconds: float = 5
    connect_seconds: float = 3
    total_seconds: float = 30
    retries: int = 4
    retries_timeouts: bool = True
    remembers: bool = False


PATIENT = RedisPatience()
"""For processes that have time."""

QUICK = RedisPatience(seconds=3, connect_seconds=1, total_seconds=5, retries=1, retries_timeouts=False, remembers=True)
"""For the API, whose threads clients wait for."""

PROBE = RedisPatience(seconds=1, connect_seconds=1, total_seconds=1.5, retries=0)
"""For readiness checks."""


def read_connection_options(settings: Settings, patience: RedisPatience = PATIENT) -> dict[str, Any]:
    """Returns the keyword arguments of every connection to Redis: TLS, the limits of every wait, and retries."""
    # A replica is left: the address may lead to another server, which has taken over.
    lost: list[type[redis.RedisError]] = [redis.ConnectionError, redis.BusyLoadingError, redis.ReadOnlyError]
    lost += [redis.TimeoutError] if patience.retries_timeouts else []
    is_tls = settings.redis_url.startswith("rediss:")
    return {
        **settings.redis_tls,
        "connection_class": WatchedTlsConnection if is_tls else WatchedConnection,
        "watchdog": Watchdog(patience.total_seconds),
        "socket_timeout": patience.seconds,
        "socket_connect_timeout": patience.connect_seconds,
        "health_check_interval": 25,
        "retry": Retry(ExponentialBackoff(cap=1, base=0.05), patience.retries, supported_errors=tuple(lost)),
        "retry_on_error": lost,
    }


class RedisClient:
    """A pool of connections to Redis. Every call has a time limit.

    Attributes:
        max_block_seconds: How long a command may block in Redis: less than the time for an answer.
    """

    def __init__(self, settings: Settings, patience: RedisPatience = PATIENT) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            settings.redis_url, decode_responses=True, **read_connection_options(settings, patience)
        )
        self._breaker = CircuitBreaker() if patience.remembers else None
        self._clock = SharedClock(self._read_time)
        self.max_block_seconds = patience.seconds - 1

    @contextmanager
    def connection(self) -> Iterator[redis.Redis]:
        """The client of redis-py. Raises `Unavailable` with the cause if Redis fails inside the `with` block."""
        reason = self._breaker.find_refusal() if self._breaker else None
        if reason is not None:
            raise Unavailable(reason)
        began = time.monotonic()
        try:
            yield self._redis
        except redis.RedisError as error:
            raise self._note(explain(error), error, time.monotonic() - began) from error
        if self._breaker:
            self._breaker.succeed()

    def _note(self, problem: Unavailable, error: redis.RedisError, waited: float) -> Unavailable:
        if isinstance(error, redis.ReadOnlyError):  # the other connections lead to the same replica
            self._redis.connection_pool.disconnect(inuse_connections=False)
        if self._breaker:
            answered = isinstance(problem, Refused)
            self._breaker.succeed() if answered else self._breaker.fail(problem.detail, waited=waited)
        return problem

    def now(self) -> datetime:
        """The time of Redis, which all machines share. Raises `Unavailable` if Redis has never answered."""
        return self._clock.now()

    def _read_time(self) -> datetime:
        with self.connection() as connection:
            seconds, microseconds = connection.time()
        return datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)

    def ping(self) -> None:
        """Raises `Unavailable` if Redis does not answer."""
        with self.connection() as connection:
            connection.ping()

    def check(self) -> None:
        """Tests writing and reading. Raises `Unavailable` with the cause."""
        with self.connection() as connection:
            if _read_mode(connection) == "cluster":
                raise Refused(f"the queue (Redis) refuses commands: {CLUSTER}")
            connection.set(key("ready"), "1", ex=PROBE_SECONDS)
            connection.get(key("ready"))

    def is_cluster(self) -> bool:
        """Whether Redis runs in cluster mode, which the service does not support."""
        with self.connection() as connection:
            return _read_mode(connection) == "cluster"


def _read_mode(connection: redis.Redis) -> str:
    """Returns the mode of the server: `standalone`, `sentinel` or `cluster`; empty if a proxy does not tell."""
    try:
        answer = cast("Any", connection).execute_command("HELLO")
    except redis.ResponseError:
        return ""
    pairs = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=False))
    return str(pairs.get("mode", pairs.get(b"mode", "")))


def exit_if_cluster(settings: Settings, status: int = 1) -> None:
    """Ends the process with the reason if Redis runs in cluster mode. A Redis that does not answer yet is no reason."""
    with suppress(Unavailable):
        if RedisClient(settings, PROBE).is_cluster():
            log.critical("redis.cluster", detail=f"Redis cannot be used: {CLUSTER}")
            sys.exit(status)


@contextmanager
def translated() -> Iterator[None]:
    """Turns errors of redis-py into `Unavailable`."""
    try:
        yield
    except redis.RedisError as error:
        raise explain(error) from error


def unavailable() -> Unavailable:
    """The problem that Redis does not answer, or does not accept messages."""
    return Unavailable("the queue (Redis) does not answer; try again in a moment")
