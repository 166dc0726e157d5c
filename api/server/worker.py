"""The worker of gunicorn: receives whole requests from many clients in one thread, then answers each in a thread.

gunicorn's own threaded worker reads from the client in the thread that answers: as many slow clients as there are
threads stop it. This one changes only where a connection waits; parsing, responses and signals are gunicorn's.
"""

import resource
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from api.server.client_socket import BlockedWriters, ClientSocket
from api.server.connection import Connection
from api.server.limits import (
    BLOCKED_WRITERS,
    LINGER_BYTES,
    LONG_BODIES,
    MAX_SPOOL_BYTES,
    MAX_SPOOLED_BYTES,
    PROBES,
    ClientLimits,
)
from api.server.refusals import explain_error, write_problem
from api.server.request_buffer import Progress
from shared.errors import HeadTooLarge, Problem, RequestTimeout, Unavailable
from shared.settings import Settings

SWEEP_SECONDS = 0.5
DRAIN_SECONDS = 0.1


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """A threaded worker in which a client gets a thread when its request has arrived.

    Long bodies are the exception: the application reads them from the connection, in at most `LONG_BODIES` threads.
    """

    def init_process(self) -> None:
        """Prepares the worker, and runs it until it is stopped."""
        settings = Settings()
        stored = min(MAX_SPOOLED_BYTES, settings.max_body_bytes)  # the application refuses a longer body at once
        self._limits = ClientLimits(settings.client_seconds, settings.client_bytes_per_second, stored)
        self._writers = BlockedWriters(BLOCKED_WRITERS)
        self._waiting: dict[Connection, None] = {}
        self._long_bodies, self._spooled, self._next_sweep = 0, 0, 0.0
        self._probes = ThreadPoolExecutor(PROBES, "health")
        _raise_file_limit()
        super().init_process()

    def accept(self, listener: Any) -> None:
        """Accepts a connection and waits for its request. If there are too many, the one that waits longest ends."""
        if self.nr_conns >= self.worker_connections - 1:
            self._make_room()
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if not isinstance(error, (BlockingIOError, ConnectionAbortedError)):
                self.log.warning("A connection was not accepted: %s", error)
                self._make_room()
            return
        self.nr_conns += 1
        client = ClientSocket(accepted, self._limits, self._writers, time.monotonic)
        connection = Connection(self.cfg, client, address, listener.getsockname(), limits=self._limits)
        self._wait(connection, self._limits.seconds)

    def _make_room(self) -> None:
        if self._waiting:
            self._close(min(self._waiting, key=lambda connection: connection.since))

    def _wait(self, connection: Connection, seconds: float) -> None:
        """Waits for a client without a thread; `seconds` for the first byte."""
        connection.begin_wait(time.monotonic(), seconds)
        self._waiting[connection] = None
        self.poller.register(connection.sock, EVENT_READ, partial(self._receive, connection))

    def _receive(self, connection: Connection, _: object) -> None:
        try:
            data = connection.sock.receive_waiting()
        except OSError:  # the client has gone
            data = b""
        if data is None:
            return
        if not data or (connection.lingers and not connection.discard(data, LINGER_BYTES)):
            self._close(connection)
        elif not connection.lingers:
            self._fill(connection, data)

    def _fill(self, connection: Connection, data: bytes) -> None:
        try:
            self._spooled += connection.add(data, time.monotonic())
        except OSError as error:
            self.log.warning("A request was not stored: %s", error)
            self._refuse(connection, Unavailable("the server cannot store the body; its disk is full"))
            return
        self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        progress = connection.sock.buffer.progress
        if progress is Progress.TOO_LONG:
            self._refuse(connection, HeadTooLarge("the head of the request is too long; send shorter headers"))
        elif progress is Progress.LONG and self._long_bodies >= LONG_BODIES:
            reason = f"{LONG_BODIES} long bodies are being received, which is the maximum; try again in a moment"
            self._refuse(connection, Unavailable(reason))
        elif progress in (Progress.LONG, Progress.COMPLETE):
            self._dispatch(connection)
        elif progress is Progress.BODY:
            if connection.sock.buffer.expects_continue:
                connection.sock.permit_body()
            while self._spooled > MAX_SPOOL_BYTES:
                self._refuse_oldest_body()

    def _refuse_oldest_body(self) -> None:
        stored = [connection for connection in self._waiting if connection.sock.buffer.spooled]
        oldest = min(stored, key=lambda connection: connection.since)
        self._refuse(oldest, Unavailable("too many bodies are being received; try again in a moment"))

    def _dispatch(self, connection: Connection) -> None:
        self._forget(connection)
        connection.is_long = connection.sock.buffer.progress is Progress.LONG
        self._long_bodies += connection.is_long
        connection.sock.begin()
        self.enqueue_req(connection)

    def enqueue_req(self, conn: Connection) -> None:
        """Answers a request in a thread. Health checks have threads of their own."""
        pool = self._probes if conn.sock.buffer.is_health_check else self.tpool
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        if not keepalive or conn.sock.slow:
            return False
        if conn.is_long:  # unless the application has read the body, the rest may be on its way for long
            return bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_SECONDS))
        return bool(super()._keepalive_after(conn, keepalive))

    def finish_request(self, conn: Connection, fs: "Future[bool]") -> None:
        """Waits for the next request of a connection, or ends it."""
        self._long_bodies -= conn.is_long
        conn.is_long = False
        if conn.sock.slow:
            self.log.warning("A client was too slow and was disconnected: %s", conn.client)
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._linger(conn)
            return
        rest = conn.parser.unreader.take_buffered() + conn.sock.take_rest()
        self._wait(conn, self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
        if rest:
            self._fill(conn, rest)

    def _refuse(self, connection: Connection, problem: Problem) -> None:
        self._forget(connection)
        connection.sock.send_at_once(write_problem(problem))
        self.log.info("A request was refused: %s", problem.detail)
        self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        """Ends a connection after the client has had time to read the response, without a thread."""
        connection.sock.buffer.close()
        if connection.end_writing():
            self._wait(connection, 0)
        else:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._forget(connection)
        self.nr_conns -= 1
        connection.close()

    def _forget(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self._spooled -= connection.release()
        with suppress(KeyError, ValueError, OSError):
            self.poller.unregister(connection.sock)

    def murder_pending(self) -> None:
        """Ends the connections whose clients have not sent their request in time."""
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS
        for connection in [connection for connection in self._waiting if connection.is_late(now)]:
            if connection.has_begun:
                detail = "the request did not arrive in time; send it faster, or check the network"
                self._refuse(connection, RequestTimeout(detail))
            else:
                self._close(connection)

    def murder_keepalived(self, force: bool = False) -> None:
        """Ends all connections that wait, if the worker stops."""
        for connection in list(self._waiting) if force else ():
            self._close(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        for connection in self._waiting:
            connection.end_wait_by(deadline)

    def handle_error(self, req: Any, client: ClientSocket, addr: Any, exc: Exception) -> None:
        """Answers a request that gunicorn cannot parse with a problem document."""
        problem = explain_error(exc)
        if problem is None:
            super().handle_error(req, client, addr, exc)
            return
        self.log.warning("Invalid request from %s: %s", addr, exc)
        client.send_at_once(write_problem(problem))


def _raise_file_limit() -> None:
    """Allows as many open files as the system does: each connection is one, and its stored body another."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
