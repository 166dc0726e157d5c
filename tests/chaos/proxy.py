"""A proxy in front of the object store that does what networks and stores do on bad days, when it is told to.

It forwards raw: the Host header stays as it is, because it is part of what was signed.
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
from tests.chaos.signature import sign_afresh

CHUNK = 65_536
HOLD_SECONDS = 90.0
"""Longest that a request is held."""

READS, WRITES, ALL = "GET|HEAD", "PUT|POST|DELETE", ".*"


@dataclass(frozen=True)
class Exchange:
    """A request on its way: the key is the path without the bucket."""

    method: str
    key: str
    query: str = ""


class Dropped(Exception):
    """The connection ends here, without an answer."""


class Refused(Exception):
    """The request is answered here, and the store never sees it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Fault:
    """What happens to requests while it lasts.

    Attributes:
        methods: Which requests, a regular expression.
        keys: Which requests, a regular expression that must match the whole key; all by default.
        status: They are answered with this.
        drop: The connection is reset.
        delay: They wait for so many seconds first.
        cut: Half of a body comes through, in either direction, then the connection is reset.
    """

    methods: str = ALL
    keys: str = ".*"
    status: int | None = None
    drop: bool = False
    delay: float = 0
    cut: bool = False

    def strikes(self, exchange: Exchange) -> bool:
        return bool(re.fullmatch(self.methods, exchange.method) and re.fullmatch(self.keys, exchange.key))

    def act(self) -> None:
        """Raises `Dropped` or `Refused`, or takes its time."""
        time.sleep(self.delay)
        if self.drop:
            raise Dropped
        if self.status is not None:
            raise Refused(self.status)


@dataclass
class Hook:
    """Does something when a request passes, once.

    Attributes:
        seen: Set when it has passed.
        when: Before the store sees the request, or after it has, before its answer is given.
    """

    method: str
    pattern: str
    when: Literal["before", "after"]
    action: Callable[[Exchange], object]
    seen: threading.Event = field(default_factory=threading.Event)
    exchange: Exchange | None = None

    def catches(self, exchange: Exchange, when: str) -> bool:
        return when == self.when and exchange.method == self.method and bool(re.fullmatch(self.pattern, exchange.key))


def ignore(_: Exchange) -> None:
    """The action of a hook that only looks."""


class Proxy:
    """Listens where the services look for the store; the store itself listens at `upstream`.

    Attributes:
        keys: Whoever these settings are of signs every request afresh, where a clock is wrong on purpose.

    Args:
        tls: With a certificate, where it is to be spoken to over TLS.
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
        """A fault for as long as the block lasts."""
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
        """Does something to the first such request that passes while the block lasts."""
        hook = Hook(method, pattern, when, action)
        with self._lock:
            self.hooks.append(hook)
        try:
            yield hook
        finally:
            with self._lock, suppress(ValueError):
                self.hooks.remove(hook)

    def meet(self, exchange: Exchange, when: Literal["before", "after"]) -> None:
        """Lets whoever waits for this request do something to it."""
        with self._lock:
            caught = [hook for hook in self.hooks if hook.catches(exchange, when)]
            self.hooks = [hook for hook in self.hooks if hook not in caught]
        for hook in caught:
            hook.exchange = exchange
            hook.seen.set()
            hook.action(exchange)

    def suffer(self, exchange: Exchange) -> bool:
        """Lets the faults of the moment act; returns whether bodies are to be cut short."""
        struck = [fault for fault in list(self.faults) if fault.strikes(exchange)]
        for fault in struck:
            fault.act()
        return any(fault.cut for fault in struck)


def hold(until: threading.Event) -> Callable[[Exchange], None]:
    """An action: the request waits."""

    def wait(_: Exchange) -> None:
        until.wait(HOLD_SECONDS)

    return wait


def drop(_: Exchange) -> None:
    """An action: there will be no answer."""
    raise Dropped


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever was talked to is gone: nothing to say."""


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
        except (OSError, http.client.HTTPException, ValueError):  # either side went away
            self._reset()

    def forward(self) -> None:
        """One request to the store and its answer back, through whatever is to happen to them."""
        asked = urlsplit(self.path)
        exchange = Exchange(self.command, unquote(asked.path.lstrip("/").partition("/")[2]), asked.query)
        body = self._read_body()
        try:
            self.proxy.meet(exchange, "before")
            cut = self.proxy.suffer(exchange)
        except Refused as refused:
            self._refuse(refused.status)
            return
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=self.timeout)
        try:
            self._send(upstream, body, cut=cut)
            answer = upstream.getresponse()
            content = answer.read()
            self.proxy.meet(exchange, "after")
            self._answer(answer, content, cut=cut)
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
            headers = sign_afresh(self.proxy.keys, self.command, self.path, headers, body)
        for name, value in headers.items():
            if name.lower() not in {"expect", "transfer-encoding", "content-length"}:  # none of which is signed
                upstream.putheader(name, value)
        if body or "Content-Length" in self.headers:
            upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders()
        if cut and body:
            upstream.send(body[: len(body) // 2])
            raise Dropped
        upstream.send(body)

    def _answer(self, answer: http.client.HTTPResponse, content: bytes, *, cut: bool) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None and answer.status not in {204, 304}:
            self.send_header("Content-Length", length)
        self.end_headers()
        if cut and content:
            self.wfile.write(content[: len(content) // 2])
            raise Dropped
        self.wfile.write(content)

    def _refuse(self, status: int) -> None:
        code = {403: "AccessDenied", 503: "SlowDown"}.get(status, "InternalError")
        text = f"<Error><Code>{code}</Code><Message>so the proxy was told</Message></Error>"
        content = b"" if self.command == "HEAD" else text.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        """Closes the connection as a machine does that has crashed."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


def _handler_of(proxy: Proxy) -> type[_Handler]:
    return cast("type[_Handler]", type("Handler", (_Handler,), {"proxy": proxy}))
