"""One exchange with real receivers on the loopback: none of them can stretch it, and none is trusted."""

import socket
import ssl
import time
from typing import Any

import pytest
import trustme

from deploy.local import free_port
from shared.validation.webhook_address import Refused
from shared.validation.webhook_url import parse_url
from tests.support.hostile_receiver import (
    Script,
    answer,
    drip,
    hostile_receiver,
    repeat,
    repeat_slowly,
    silent,
)
from tests.support.receiver import Receiver
from tests.support.tunnel import tunnel
from worker.webhooks.exchange import Answer, ExchangeFailed, Exchanges

DEADLINE_SECONDS = 2.0
MARGIN_SECONDS = 20.0
"""For slow machines; without the deadline each exchange takes minutes."""

ENDLESS_HEADER = b"X-Header: " + b"a" * 1000


def post(url: str, *, seconds: float = DEADLINE_SECONDS, tls: ssl.SSLContext | None = None) -> Answer:
    exchanges = Exchanges(loopback=True, networks=[], seconds=seconds, tls=tls)
    return exchanges.post("t", parse_url(url), b"{}", {"webhook-id": "1"})


@pytest.mark.parametrize(
    ("script", "scheme"),
    [
        pytest.param(silent, "http", id="never answers"),
        pytest.param(silent, "https", id="never begins TLS"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-Header: " + b"a" * 10_000), "http", id="one byte at a time"),
        pytest.param(drip(b"\x16\x03\x03\x40\x00" + b"a" * 10_000), "https", id="one byte of TLS at a time"),
        pytest.param(repeat_slowly(b"HTTP/1.1 102 Processing\r\n\r\n"), "http", id="1xx without end"),
        pytest.param(repeat_slowly(b"\r\n"), "http", id="empty lines without end"),
    ],
)
def test_a_receiver_cannot_stretch_an_exchange_beyond_its_deadline(script: Script, scheme: str) -> None:
    with hostile_receiver(script) as port:
        began = time.monotonic()
        with pytest.raises(ExchangeFailed):
            post(f"{scheme}://127.0.0.1:{port}/")
        assert time.monotonic() - began < DEADLINE_SECONDS + MARGIN_SECONDS


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(repeat(b"HTTP/1.1 200 OK\r\n", ENDLESS_HEADER + b"\r\n"), id="endless headers"),
        pytest.param(repeat(b"HTTP/1.1 200 OK\r\n", ENDLESS_HEADER), id="one endless header"),
        pytest.param(repeat(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100), id="a flood of 1xx"),
        pytest.param(repeat(b"", b"H" * 1000), id="an endless status line"),
    ],
)
def test_the_size_of_an_answer_is_limited(script: Script) -> None:
    with hostile_receiver(script) as port, pytest.raises(ExchangeFailed, match=r"bytes|status line"):
        post(f"http://127.0.0.1:{port}/", seconds=60)


def test_the_body_of_an_answer_is_not_read() -> None:
    with hostile_receiver(repeat(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 10_000)) as port:
        assert post(f"http://127.0.0.1:{port}/", seconds=60).status == 200


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"", "the answer failed"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer failed"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "the answer failed"),
        (b"HTTP/1.1 99999 OK\r\n\r\n", "the answer failed"),
        (b"\xff" * 100 + b"\r\n\r\n", "the answer failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "the answer failed"),
    ],
)
def test_an_answer_that_is_not_http_fails_with_the_reason(head: bytes, error: str) -> None:
    with hostile_receiver(answer(head)) as port, pytest.raises(ExchangeFailed, match=error):
        post(f"http://127.0.0.1:{port}/", seconds=60)


def test_a_redirect_is_an_answer_like_any_other() -> None:
    with hostile_receiver(answer(b"HTTP/1.1 307 No\r\nLocation: http://127.0.0.1:1/\r\n\r\n")) as port:
        assert post(f"http://127.0.0.1:{port}/", seconds=60) == Answer(307)


def test_the_time_that_a_receiver_asks_for_is_returned() -> None:
    with hostile_receiver(answer(b"HTTP/1.1 503 No\r\nretry-after: 7\r\n\r\n")) as port:
        assert post(f"http://127.0.0.1:{port}/", seconds=60) == Answer(503, "7")


def test_a_name_that_does_not_resolve_fails_with_the_stage() -> None:
    with pytest.raises(ExchangeFailed, match="the DNS lookup failed"):
        post("https://does-not-exist.invalid/", seconds=60)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Makes each lookup return the next of these answers."""
    remaining = iter(answers)

    def resolve(_host: Any, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(remaining)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_a_host_is_refused_if_any_of_its_addresses_is(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["1.1.1.1", "192.168.0.1"], ["64:ff9b::7f00:1"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"])
    exchanges = Exchanges(loopback=False, networks=[])
    for _ in range(4):
        with pytest.raises(Refused, match="not an address of the public internet"):
            exchanges.post("t", parse_url("https://receiver.example/"), b"{}", {})


def test_http_is_not_used_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["1.1.1.1"])
    with pytest.raises(Refused, match="only https"):
        post("http://api.localhost/")
    with pytest.raises(Refused, match="only https"):
        post("http://receiver.example/")


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each exchange makes one lookup, and the certificate must be that of the name."""
    authority = trustme.CA()
    server, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("receiver.example").configure_cert(server)
    authority.configure_trust(trusting)
    receiver = Receiver(free_port())
    receiver.start()
    try:
        with tunnel(receiver.port, server) as port:
            resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.1"])  # a lookup for each of the two exchanges
            assert post(f"https://receiver.example:{port}/hook?x=1", seconds=60, tls=trusting) == Answer(200)
            with pytest.raises(ExchangeFailed, match="certificate"):
                post(f"https://other.example:{port}/", seconds=60, tls=trusting)
        assert receiver.taken[0][0]["host"] == f"receiver.example:{port}"
        assert receiver.paths == ["/hook?x=1"]
    finally:
        receiver.stop()


def test_the_next_address_is_tried_if_one_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver(free_port())
    receiver.start()
    try:
        resolve_to(monkeypatch, ["127.0.0.99", "127.0.0.1"])  # the receiver listens on the second one
        assert post(f"http://localhost:{receiver.port}/", seconds=60) == Answer(200)
    finally:
        receiver.stop()


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with hostile_receiver(answer(b"HTTP/1.1 204 No\r\n\r\n")) as port:
        assert post(f"http://127.0.0.1:{port}/", seconds=60) == Answer(204)
