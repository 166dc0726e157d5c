"""Failed requests are sent again: which ones, after how long, and for how long altogether."""

import io
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from archetype import transport
from archetype.client import Client
from archetype.contract.request import REQUEST
from archetype.errors import (
    ArchetypeError,
    Forbidden,
    InvalidRequest,
    NoConnection,
    RateLimited,
    ServerError,
    TimedOut,
    Unavailable,
)
from archetype.retries import MAX_ATTEMPTS
from tests.support.clock import Clock
from tests.support.mock_service import JOB_ID, MockService, answer_json, answer_problem, make_job

JOB = f"/v1/jobs/{JOB_ID}"
SUBMISSION = REQUEST.validate_python({"method": "class_model", "model": "shapes", "targets": ["lemon"]})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(transport, "time", clock)
    return clock


@pytest.fixture
def service(clock: Clock) -> MockService:
    return MockService()


def connect(service: MockService, **options: Any) -> Client:
    return service.client(retry_seconds=60, **options)


def test_after_a_429_every_request_is_repeated_when_the_service_says_so(service: MockService, clock: Clock) -> None:
    busy = answer_problem(429, "too many", **{"Retry-After": "7"})
    service.answer("GET", JOB, busy, answer_json(make_job()))
    service.answer(
        "POST",
        "/v1/webhooks/secret",
        busy,
        answer_json({"items": [{"secret": "s", "created_at": "2026-01-01T00:00:00Z"}]}),
    )
    assert connect(service).job(JOB_ID).id == JOB_ID
    connect(service).webhook_secret(renew=True)
    assert clock.pauses == [7, 7]


def test_a_time_in_retry_after_is_honored(service: MockService, clock: Clock) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    past = "Fri, 31 Dec 1999 23:59:59 GMT"
    answers = [answer_problem(503, "down", **{"Retry-After": text}) for text in (moment, past, "soon", "-1")]
    service.answer("GET", JOB, *answers, answer_json(make_job()))
    connect(service).job(JOB_ID)
    assert 20 < clock.pauses[0] <= 30
    assert max(clock.pauses[1:]) < 3


BROKEN = [httpx2.ReadError("reset"), httpx2.WriteError("broken pipe"), httpx2.RemoteProtocolError("closed")]
PASSING = [answer_problem(status, "down") for status in (500, 502, 503, 504)]


@pytest.mark.parametrize("failure", [*PASSING, *BROKEN], ids=repr)
def test_repeatable_requests_are_repeated_after_a_5xx_and_a_broken_connection(
    service: MockService, clock: Clock, failure: Any
) -> None:
    client = connect(service)
    for method, path in (("GET", JOB), ("POST", f"{JOB}/cancel"), ("POST", "/v1/jobs"), ("POST", f"{JOB}/retry")):
        service.answer(method, path, failure, failure, answer_json(make_job()))
    client.job(JOB_ID)
    client.cancel(JOB_ID)
    client.submit(SUBMISSION)
    client.submit(SUBMISSION, idempotency_key="mine")
    client.retry(JOB_ID)
    keys = [request.headers["Idempotency-Key"] for request in service.sent("POST", "/v1/jobs")]
    assert len(set(keys[:3])) == 1  # one submission has one key, however often it is sent
    assert keys[3] == "mine"
    assert len(service.sent("POST", f"{JOB}/retry")) == 3


@pytest.mark.parametrize("failure", [*PASSING, *BROKEN], ids=repr)
def test_a_request_that_may_have_had_an_effect_is_not_repeated(
    service: MockService, clock: Clock, failure: Any
) -> None:
    service.answer("POST", "/v1/webhooks/secret", failure)
    with pytest.raises((ServerError, Unavailable, NoConnection)):
        connect(service).webhook_secret(renew=True)
    assert len(service.requests) == 1
    assert clock.pauses == []


@pytest.mark.parametrize(
    "failure", [(400, InvalidRequest), (401, ArchetypeError), (403, Forbidden), (422, InvalidRequest)]
)
def test_a_refusal_is_not_repeated(service: MockService, clock: Clock, failure: Any) -> None:
    service.answer("GET", JOB, answer_problem(failure[0], "no", **{"Retry-After": "1"}))
    with pytest.raises(failure[1]):
        connect(service).job(JOB_ID)
    assert len(service.requests) == 1


def test_a_service_that_was_never_reached_is_reported_at_once_and_one_that_restarts_is_waited_for(
    service: MockService, clock: Clock
) -> None:
    service.answer("GET", JOB, httpx2.ConnectError("refused"))
    client = connect(service)
    with pytest.raises(NoConnection, match="is the service running"):
        client.job(JOB_ID)
    assert clock.pauses == []
    refused = [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("late")]
    service.answer("GET", JOB, answer_json(make_job()), *refused, answer_json(make_job()))
    service.answer("POST", "/v1/webhooks/secret", httpx2.ConnectError("refused"), answer_json({"items": []}))
    for _ in range(2):
        client.job(JOB_ID)
    assert len(clock.pauses) == 2


def test_a_late_answer_is_not_waited_for_again(service: MockService, clock: Clock) -> None:
    service.answer("GET", JOB, httpx2.ReadTimeout(""))
    with pytest.raises(TimedOut):
        connect(service).job(JOB_ID)
    assert len(service.requests) == 1


def test_retries_end_after_the_total_time_and_after_a_number_of_attempts(service: MockService, clock: Clock) -> None:
    service.answer("GET", JOB, answer_problem(503, "down"))
    with pytest.raises(Unavailable, match="down"):
        connect(service).job(JOB_ID)
    assert clock.now <= 1060
    assert 5 <= len(service.requests) <= MAX_ATTEMPTS
    pauses = list(clock.pauses)
    assert max(pauses[4:]) > 2 * max(pauses[:2])  # they grow
    service.answer("GET", JOB, answer_problem(503, "down", **{"Retry-After": "0"}))
    with pytest.raises(Unavailable):
        connect(service).job(JOB_ID)
    assert len(service.requests) <= 2 * MAX_ATTEMPTS


@pytest.mark.parametrize("seconds", ["61", "3600", "9" * 400])
def test_a_service_that_asks_for_more_patience_than_there_is_fails_at_once(
    service: MockService, clock: Clock, seconds: str
) -> None:
    service.answer("GET", JOB, answer_problem(429, "too many", **{"Retry-After": seconds}))
    with pytest.raises(RateLimited):
        connect(service).job(JOB_ID)
    assert clock.pauses == []


def test_a_wait_has_its_own_limit(service: MockService, clock: Clock) -> None:
    service.answer("GET", JOB, answer_problem(503, "down", **{"Retry-After": "10"}))
    with pytest.raises(Unavailable):
        connect(service).wait(JOB_ID, timeout=25)
    assert clock.now <= 1025


def test_a_repeated_upload_sends_the_whole_file(service: MockService, clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    path.write_bytes(b"0123456789" * 1000)
    service.answer("POST", "/v1/archives", answer_problem(503, "down"), answer_problem(422, "enough"))
    with pytest.raises(InvalidRequest):
        connect(service).upload_archive(path)
    assert [b"0123456789" * 1000 in request.content for request in service.requests] == [True, True]
    service.answer("POST", "/v1/images", answer_problem(429, "busy"), answer_problem(422, "enough"))
    with pytest.raises(InvalidRequest):
        connect(service)._transport.request("POST", "/v1/images", files={"file": io.BytesIO(b"a picture")})
    assert all(b"a picture" in request.content for request in service.sent("POST", "/v1/images"))


def test_an_event_stream_that_is_refused_for_a_moment_is_opened_again(service: MockService, clock: Clock) -> None:
    data = f'{{"job": "{JOB_ID}", "state": "succeeded", "progress": {{}}}}'
    stream = httpx2.Response(200, text=f"id: 1-0\nevent: job.succeeded\ndata: {data}\n\n")
    busy = answer_problem(429, "32 connections follow events", **{"Retry-After": "3"})
    service.answer("GET", f"{JOB}/events", busy, answer_problem(503, "no Redis"), stream)
    assert [event.id for event in connect(service).events(JOB_ID)] == ["1-0"]
    assert clock.pauses == [3, 2]
    service.answer("GET", f"{JOB}/events", busy)
    with pytest.raises(RateLimited):
        list(connect(service).events(JOB_ID))


@pytest.fixture
def breaking_server() -> Iterator[tuple[str, list[bytes]]]:
    """A server that closes every second connection after it has read a request."""
    heads: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(60)

    def serve() -> None:
        while len(heads) < 4:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                heads.append(connection.recv(65_536))
                if len(heads) % 2 == 0:
                    body = make_job().model_dump_json().encode()
                    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                    connection.sendall(head.encode() + body)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", heads
    listener.close()
    thread.join(60)


def test_connections_that_a_real_server_closes_are_repeated(breaking_server: tuple[str, list[bytes]]) -> None:
    url, heads = breaking_server
    with Client(url) as client:
        assert client.job(JOB_ID).id == JOB_ID
        assert client.submit(SUBMISSION).id == JOB_ID
    assert [head.split(b" ", 1)[0] for head in heads] == [b"GET", b"GET", b"POST", b"POST"]
