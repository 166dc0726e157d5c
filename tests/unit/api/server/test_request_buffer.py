"""Where a request ends, however its bytes arrive."""

import pytest

from api.server import request_buffer
from api.server.request_buffer import Progress, RequestBuffer

POST = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde"


def feed(data: bytes, size: int) -> RequestBuffer:
    buffer = RequestBuffer()
    for start in range(0, len(data), size):
        buffer.add(data[start : start + size])
    return buffer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_request_is_complete_with_its_last_byte(size: int) -> None:
    assert feed(POST[:-1], size).progress is Progress.BODY
    assert feed(POST, size).progress is Progress.COMPLETE
    assert feed(POST.replace(b"\r\n", b"\n"), size).progress is Progress.COMPLETE
    assert feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r", size).progress is Progress.HEAD
    assert RequestBuffer().progress is Progress.IDLE


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_what_arrived_is_read_in_the_same_order_from_memory_and_from_a_file(size: int) -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n"
    data = head + bytes(range(250)) * 800
    buffer = feed(data, size)
    buffer.rewind()
    assert (buffer.progress, buffer.spooled) == (Progress.COMPLETE, len(data))
    assert b"".join(iter(lambda: buffer.read(999), b"")) == data
    buffer.close()
    short = feed(POST, size)
    assert short.spooled == 0
    assert short.read(4) + short.read(-1) == POST


@pytest.mark.parametrize(
    "head", [b"Transfer-Encoding: chunked", b"transfer-encoding : a", b"Content-Length: 99999999999"]
)
def test_a_body_that_cannot_be_stored_is_long(head: bytes) -> None:
    assert feed(b"POST / HTTP/1.1\r\n" + head + b"\r\n\r\nabc", 1000).progress is Progress.LONG


def test_of_several_lengths_the_longest_is_awaited() -> None:
    data = b"POST / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 9\r\n\r\nabc"
    assert feed(data, 1000).progress is Progress.BODY


def test_a_head_without_end_is_too_long() -> None:
    assert feed(b"GET / HTTP/1.1\r\nA: " + b"a" * request_buffer.MAX_HEAD_BYTES, 1000).progress is Progress.TOO_LONG


def test_only_a_request_without_body_is_a_health_check() -> None:
    assert feed(b"GET /healthz HTTP/1.1\r\n\r\n", 1000).is_health_check
    assert not feed(b"GET /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n", 1000).is_health_check
    assert not feed(b"GET /healthzz HTTP/1.1\r\n\r\n", 1000).is_health_check


def test_the_body_of_a_stored_request_is_not_read_beyond_its_end() -> None:
    buffer = feed(POST[:-2], 1000)
    assert buffer.missing == 2
