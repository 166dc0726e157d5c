"""Connections to Redis whose waits end, and that are renewed if their server has become a replica."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Any

import redis
from redis.connection import Connection, SSLConnection

from shared.process.answer_time import answer_seconds

WATCH_SECONDS = 0.5


class Watchdog:
    """Ends reads that take too long in total. The timeout of a socket limits each part of an answer only.

    One thread watches all connections of a pool; it starts with the first read and ends with the process.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._reads: dict[Any, float] = {}
        self._lock, self._is_running = threading.Lock(), False

    def begin(self, connection: Any) -> None:
        """Starts the time of a read."""
        self._reads[connection] = self._clock() + self._seconds
        with self._lock:
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="redis-watchdog", daemon=True).start()

    def end(self, connection: Any) -> None:
        """Ends the time of a read."""
        self._reads.pop(connection, None)

    def _run(self) -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            self.check()

    def check(self) -> None:
        """Disconnects the connections whose reads have taken too long."""
        now = self._clock()
        for connection, limit in list(self._reads.items()):
            if now > limit:
                sock = getattr(connection, "_sock", None)
                with suppress(OSError, AttributeError):
                    sock.shutdown(SHUT_RDWR)  # type: ignore[union-attr]


class _Watched:
    """Adds limits of waits to a connection of redis-py, and recognizes a replica in the errors of scripts."""

    def __init__(self, *args: Any, watchdog: Watchdog, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watchdog = watchdog

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Reads an answer. Raises `ReadOnlyError`, which is retried on a new connection, if the server is a replica."""
        seconds = answer_seconds()
        if seconds is not None:
            options.setdefault("timeout", seconds)
        self._watchdog.begin(self)
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ReadOnlyError:
            raise
        except redis.ResponseError as error:
            if "READONLY" in str(error):
                raise redis.ReadOnlyError(str(error)) from error
            raise
        finally:
            self._watchdog.end(self)


class WatchedConnection(_Watched, Connection):
    """A connection without TLS."""


class WatchedTlsConnection(_Watched, SSLConnection):
    """A connection with TLS."""
