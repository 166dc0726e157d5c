"""A proxy in front of the object store that injects faults of networks and stores.

It forwards requests unchanged, including the Host header, which is part of the signature.
"""

import http.client
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self, cast
from urllib.parse import unquote, urlsplit

from deploy.local import HOST, free_port
from shared.settings import Settings
from tests.chaos.signature import sign_again

CHUNK = 65_536
HOLD_SECONDS = 90.0
"""The longest time that a request is held."""

READS, WRITES, ALL = "GET|HEAD", "PUT|POST|DELETE", ".*"


@dataclass(frozen=True)
class Exchange:
    """A request; the key is the path without the bucket, the signature the header `Authorization`."""

    method: str
    key: str
    query: str = ""
    signature: str = field(default="", compare=False, repr=False)


class Dropped(Exception):
    """The connection is closed without a response."""


class Refused(Exception):
    """The proxy answers the request with an error and does not forward it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Fault:
    """A fault of the requests that match.

    Attributes:
        methods: A regular expression for the HTTP method.
        keys: A regular expression for the whole key.
        status: Answer with this status.
        drop: Reset the connection.
        delay: Wait for this number of seconds first.
        cut: Forward half of a body, in either direction, then reset the connection.
    """

    methods: str = ALL
    keys: str = ".*"
    status: int | None = None
    drop: bool = False
    delay: float = 0
    cut: bool = False

    def matches(self, exchange: Exchange) -> bool:
        """Whether the fault affects a request."""
        return bool(re.fullmatch(self.methods, exchange.method) and re.fullmatch(self.keys, exchange.key))

    def act(self) -> None:
        """Delays the request, then raises `Dropped` or `Refused` if the fault requires it."""
        time.sleep(self.delay)
        if self.drop:
            raise Dropped
        if self.status is not None:
            raise Refused(self.status)


@dataclass
class Hook:
    """Runs an action once, on the first request that matches.

    Attributes:
        when: Whether the action runs before the request is forwarded, or after the response of the store.
        seen: Set when the request has arrived.
    """

    method: str
    pattern: str
    when: Literal["before", "after"]
    action: Callable[[Exchange], object]
    seen: threading.Event = field(default_factory=threading.Event)
    exchange: Exchange | None = None

    def matches(self, exchange: Exchange, when: str) -> bool:
        """Whether the action runs for a request."""
        return when == self.when and exchange.method == self.method and bool(re.fullmatch(self.pattern, exchange.key))


def ignore(_: Exchange) -> None:
    """An action that does nothing."""


class Proxy:
    """A proxy between the services and the store; the store listens at `upstream`.

    Attributes:
        keys: If set, the proxy signs each request again with the keys of these settings and the true time.

    Args:
        tls: A context with a certificate, to serve TLS.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.keys: Settings | None = None
        self.upstream = f"{HOST}:{free_port()}"
        self.faults: list[Fault] = []
        self.hooks: list[Hook] = []
        self._lock = threading.Lock()
        self._server = _Server((HOST, 0), _handler_of(self))
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Injects a fault until the block ends."""
        self.faults.append(fault)
        try:
            yield
        finally:
            self.faults.remove(fault)

    @contextmanager
    def on(
        self,
        method: str,
        pattern: str,
        when: Literal["before", "after"] = "before",
        action: Callable[[Exchange], object] = ignore,
    ) -> Iterator[Hook]:
        """Runs an action on the first request that matches within the block."""
        hook = Hook(method, pattern, when, action)
        with self._lock:
            self.hooks.append(hook)
        try:
            yield hook
        finally:
            with self._lock, suppress(ValueError):
                self.hooks.remove(hook)

    def run_hooks(self, exchange: Exchange, when: Literal["before", "after"]) -> None:
        """Runs the actions for a request, and removes their hooks."""
        with self._lock:
            matching = [hook for hook in self.hooks if hook.matches(exchange, when)]
            self.hooks = [hook for hook in self.hooks if hook not in matching]
        for hook in matching:
            hook.exchange = exchange
            hook.seen.set()
            hook.action(exchange)

    def apply_faults(self, exchange: Exchange) -> bool:
        """Applies the current faults to a request; returns whether its bodies are cut."""
        matching = [fault for fault in list(self.faults) if fault.matches(exchange)]
        for fault in matching:
            fault.act()
        return any(fault.cut for fault in matching)


def hold(until: threading.Event) -> Callable[[Exchange], None]:
    """Returns an action that holds the request until an event is set."""

    def wait(_: Exchange) -> None:
        until.wait(HOLD_SECONDS)

    return wait


def drop(_: Exchange) -> None:
    """An action that closes the connection without a response."""
    raise Dropped


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores errors of connections that the client has closed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120
    proxy: Proxy

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except Dropped:
            self._reset()
        except (OSError, http.client.HTTPException, ValueError):  # client or store closed the connection
            self._reset()

    def forward(self) -> None:
        """Forwards a request to the store and its response to the client, with the current hooks and faults."""
        url = urlsplit(self.path)
        key = unquote(url.path.lstrip("/").partition("/")[2])
        exchange = Exchange(self.command, key, url.query, self.headers.get("Authorization", ""))
        body = self._read_body()
        try:
            self.proxy.run_hooks(exchange, "before")
            cut = self.proxy.apply_faults(exchange)
        except Refused as refused:
            self._refuse(refused.status)
            return
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=self.timeout)
        try:
            self._send(upstream, body, cut=cut)
            response = upstream.getresponse()
            content = response.read()
            self.proxy.run_hooks(exchange, "after")
            self._respond(response, content, cut=cut)
        finally:
            upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return b"".join(self._read_chunks())
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            raise Dropped
        return body

    def _read_chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers

    def _send(self, upstream: http.client.HTTPConnection, body: bytes, *, cut: bool) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        headers = dict(self.headers.items())
        if self.proxy.keys is not None and "Authorization" in headers:
            headers = sign_again(self.proxy.keys, self.command, self.path, headers, body)
        for name, value in headers.items():
            if name.lower() not in {"expect", "transfer-encoding", "content-length"}:  # not part of the signature
                upstream.putheader(name, value)
        if body or "Content-Length" in self.headers:
            upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders()
        if cut and body:
            upstream.send(body[: len(body) // 2])
            raise Dropped
        upstream.send(body)

    def _respond(self, response: http.client.HTTPResponse, content: bytes, *, cut: bool) -> None:
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None and response.status not in {204, 304}:
            self.send_header("Content-Length", length)
        self.end_headers()
        if cut and content:
            self.wfile.write(content[: len(content) // 2])
            raise Dropped
        self.wfile.write(content)

    def _refuse(self, status: int) -> None:
        code = {403: "AccessDenied", 503: "SlowDown"}.get(status, "InternalError")
        text = f"<Error><Code>{code}</Code><Message>injected by the proxy</Message></Error>"
        content = b"" if self.command == "HEAD" else text.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        """Resets the connection, like a machine that has crashed."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Does not log requests."""


def _handler_of(proxy: Proxy) -> type[_Handler]:
    return cast("type[_Handler]", type("Handler", (_Handler,), {"proxy": proxy}))
