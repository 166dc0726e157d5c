"""One exchange with a receiver: look up, connect, send the message, read the head of the answer.

One deadline holds for the whole of it, and one limit for all bytes of the answer. The body of the answer is not read.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2

from shared.validation.webhook_address import Refused, check_address
from shared.validation.webhook_url import WebhookUrl, check_receiver
from worker.webhooks.lookup import Lookups, parse_address

EXCHANGE_SECONDS = 15.0
"""Deadline of a whole exchange."""

CONNECT_SECONDS, MAX_ADDRESSES = 4.0, 3
"""Time for each address of a receiver, and how many of its addresses are tried."""

MAX_ANSWER_BYTES = 65_536
"""How many bytes of an answer are read; its head must end within them."""


class ExchangeFailed(Exception):
    """The receiver did not answer as HTTP requires, or not in time."""


@dataclass(frozen=True)
class Answer:
    """The head of a receiver's answer.

    Attributes:
        status: HTTP status.
        retry_after: Value of the header `Retry-After`, or None.
    """

    status: int
    retry_after: str | None = None


class Exchanges:
    """Sends messages to receivers.

    Args:
        loopback: Allow receivers on this machine.
        networks: Networks outside the public internet that are allowed, in CIDR notation.
        seconds: Deadline of a whole exchange.
        tls: Verifies certificates; by default with the authorities of the system.
    """

    def __init__(
        self,
        *,
        loopback: bool,
        networks: Sequence[str],
        seconds: float = EXCHANGE_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loopback = loopback
        self._networks = networks
        self._seconds = seconds
        self._tls = tls or httpx2.create_ssl_context(trust_env=False)  # once, because it reads all certificates
        self._lookups = Lookups()

    def post(self, tenant: str, url: WebhookUrl, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Sends a message to the checked address of its receiver. Redirects are not followed, proxies not used.

        Args:
            tenant: Tenant whose message it is.
            url: URL of the receiver.
            body: The message.
            headers: Headers of the message, besides `Host` and `Content-Length`.

        Raises:
            Refused: The URL or one of the addresses of its host is not allowed.
            ExchangeFailed: The receiver did not answer correctly before the deadline.
        """
        return asyncio.run(self._post_in_time(tenant, url, body, headers))

    async def _post_in_time(self, tenant: str, url: WebhookUrl, body: bytes, headers: Mapping[str, str]) -> Answer:
        progress = _Progress()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(tenant, url, body, headers, progress)
        except TimeoutError as error:
            raise ExchangeFailed(f"{progress.stage} took too long: the deadline is {self._seconds:g} s") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError) as error:
            raise ExchangeFailed(f"{progress.stage} failed: {str(error) or type(error).__name__}") from error

    async def _post(
        self, tenant: str, url: WebhookUrl, body: bytes, headers: Mapping[str, str], progress: "_Progress"
    ) -> Answer:
        check_receiver(url, loopback=self._loopback, networks=self._networks)
        addresses = await self._lookups.find_addresses(tenant, url.host, url.port)
        self._check_addresses(url, addresses)
        progress.stage = "the connection"
        backend = _PinnedBackend(addresses[:MAX_ADDRESSES], progress)
        target = httpcore2.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
        sent = {"Host": url.authority, "Content-Length": str(len(body)), **headers}
        try:
            async with (
                httpcore2.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
                pool.stream("POST", target, headers=list(sent.items()), content=body) as response,
            ):
                return Answer(response.status, _find_header(response.headers, b"retry-after"))
        finally:
            await backend.close()

    def _check_addresses(self, url: WebhookUrl, addresses: Sequence[str]) -> None:
        for text in addresses:
            address = parse_address(text)
            check_address(address, loopback=self._loopback, networks=self._networks)
            if url.scheme == "http" and not address.is_loopback:
                raise Refused(f"only https is allowed, and {url.host} is not this machine: its address is {address}")


@dataclass
class _Progress:
    """What an exchange is doing, for errors, and how much of the answer has arrived."""

    stage: str = "the DNS lookup"
    received: int = 0


class _PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the checked addresses only, because a second lookup can give another address."""

    def __init__(self, addresses: Sequence[str], progress: _Progress) -> None:
        self._addresses = addresses
        self._progress = progress
        self._backend = httpcore2.AnyIOBackend()
        self._opened: list[httpcore2.AsyncNetworkStream] = []

    async def close(self) -> None:
        """Closes the connections; the pool leaves one open if it is cancelled during the TLS handshake."""
        for stream in self._opened:
            await stream.aclose()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        *others, last = self._addresses
        for address in others:
            try:
                return await self._connect(address, port)
            except (httpcore2.NetworkError, httpcore2.TimeoutException):
                continue
        return await self._connect(last, port)

    async def _connect(self, address: str, port: int) -> httpcore2.AsyncNetworkStream:
        stream = await self._backend.connect_tcp(address, port, timeout=CONNECT_SECONDS)
        self._opened.append(stream)
        return _CountedStream(stream, self._progress)


class _CountedStream(httpcore2.AsyncNetworkStream):
    """A connection whose peer can send a limited number of bytes."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, progress: _Progress) -> None:
        self._stream = stream
        self._progress = progress

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._progress.stage = "the answer"
        left = MAX_ANSWER_BYTES - self._progress.received
        if left <= 0:
            raise ExchangeFailed(f"the head of the answer has more than {MAX_ANSWER_BYTES} bytes")
        data = await self._stream.read(min(max_bytes, left), timeout)
        self._progress.received += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._progress.stage = "the sending"
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self._progress.stage = "the TLS handshake"
        return _CountedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._progress)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _find_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), None)
