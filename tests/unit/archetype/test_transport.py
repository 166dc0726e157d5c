"""HTTP: failures become errors, lists are read page by page, event streams are resumed."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from archetype import transport
from archetype.errors import InvalidRequest, NoConnection, RateLimited, ServerError, TimedOut, Unavailable
from tests.support.mock_service import JOB_ID, URL, MockService, answer_json, answer_problem, make_job

JOB = f"/v1/jobs/{JOB_ID}"


@pytest.fixture
def service() -> MockService:
    return MockService()


def test_the_key_is_sent_with_every_request(service: MockService) -> None:
    service.answer("GET", JOB, answer_json(make_job()))
    service.client(key="secret").job(JOB_ID)
    service.client().job(JOB_ID)
    assert [request.headers.get("Authorization") for request in service.requests] == ["Bearer secret", None]


def test_a_refusal_carries_the_problem_and_when_to_try_again(service: MockService) -> None:
    service.answer(
        "GET", JOB, answer_problem(429, "too many", **{"Retry-After": "10"}), answer_problem(503, "no Redis")
    )
    with pytest.raises(RateLimited, match="too many") as limited:
        service.client().job(JOB_ID)
    assert limited.value.retry_after == 10
    assert limited.value.problem is not None
    with pytest.raises(Unavailable, match="no Redis") as unavailable:
        service.client().job(JOB_ID)
    assert unavailable.value.retry_after is None


def test_a_refusal_without_a_problem_document_names_the_url_and_the_status(service: MockService) -> None:
    service.answer(
        "GET", JOB, httpx2.Response(502, text="<html>", headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
    )
    with pytest.raises(Unavailable, match=f"{URL}{JOB} answered 502") as refused:
        service.client().job(JOB_ID)
    assert (refused.value.problem, refused.value.retry_after) == (None, None)


@pytest.mark.parametrize("body", ["<html>", "[]", "{}"])
def test_an_answer_that_is_not_archetypes_is_a_server_error(service: MockService, body: str) -> None:
    service.answer("GET", JOB, httpx2.Response(200, text=body))
    service.answer("GET", "/v1/models/shapes", httpx2.Response(200, text=body.replace("{}", "1")))
    with pytest.raises(ServerError, match="is it an Archetype service"):
        service.client().job(JOB_ID)
    with pytest.raises(ServerError, match="is it an Archetype service"):
        service.client().model("shapes")


def test_no_connection_and_a_late_answer_are_different_errors(service: MockService) -> None:
    service.answer("GET", JOB, httpx2.ConnectError("refused"), httpx2.ConnectTimeout(""), httpx2.ReadTimeout(""))
    for _ in range(2):
        with pytest.raises(NoConnection, match="is the service running"):
            service.client().job(JOB_ID)
    with pytest.raises(TimedOut, match="within 7 s"):
        service.client(timeout=7).job(JOB_ID)


def test_a_wrong_url_and_a_closed_client_are_explained(service: MockService) -> None:
    with pytest.raises(NoConnection, match="is not a URL"):
        transport.Transport("http://[::1", timeout=1, key=None)
    with service.client() as client:
        pass
    with pytest.raises(NoConnection, match="closed"):
        client.job(JOB_ID)
    with pytest.raises(NoConnection, match="closed"):
        next(client.events())


def test_a_list_is_read_page_by_page(service: MockService) -> None:
    pages = [{"items": [make_job().model_dump(mode="json")] * 2, "next_cursor": cursor} for cursor in ("a", "b", None)]
    service.answer("GET", "/v1/jobs", *map(answer_json, pages))
    service.answer("GET", "/v1/audits", *map(answer_json, pages[1:]))
    assert len(list(service.client().jobs(tag="nightly"))) == 6
    queries = [dict(request.url.params) for request in service.requests]
    assert queries == [{"tag": "nightly", "limit": "200", **({"cursor": c} if c else {})} for c in ("", "a", "b")]
    assert len(list(service.client().audits(model="shapes"))) == 4


def test_a_list_is_read_no_further_than_it_is_used(service: MockService) -> None:
    service.answer("GET", "/v1/jobs", answer_json({"items": [make_job().model_dump(mode="json")], "next_cursor": "a"}))
    next(service.client().jobs())
    assert len(service.requests) == 1


class Stream(httpx2.SyncByteStream):
    """A stream of events that ends, or breaks."""

    def __init__(self, *events: str, breaks: bool = False) -> None:
        self._events, self._breaks = events, breaks

    def __iter__(self) -> Iterator[bytes]:
        for event in self._events:
            yield event.encode()
        if self._breaks:
            raise httpx2.ReadError("broken")


def write_event(number: int, state: str) -> str:
    data = f'{{"job": "{JOB_ID}", "state": "{state}", "progress": {{}}}}'
    return f"id: {number}-0\nevent: job.{state}\ndata: {data}\n\n: still here\n\n"


def answer_stream(*events: str, breaks: bool = False) -> httpx2.Response:
    return httpx2.Response(200, stream=Stream(*events, breaks=breaks))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(transport.time, "sleep", slept.append)
    return slept


def test_a_broken_event_stream_goes_on_after_the_last_event(service: MockService, pauses: list[float]) -> None:
    service.answer(
        "GET",
        f"{JOB}/events",
        answer_stream(write_event(1, "queued"), write_event(2, "running"), breaks=True),
        answer_stream(write_event(3, "running"), write_event(4, "succeeded"), write_event(5, "never read")),
    )
    events = list(service.client().events(JOB_ID))
    assert [event.id for event in events] == ["1-0", "2-0", "3-0", "4-0"]
    assert [request.headers.get("Last-Event-ID") for request in service.requests] == [None, "2-0"]
    assert pauses == [1]


@pytest.mark.parametrize("broken", [True, False])
def test_an_event_stream_without_events_is_given_up(service: MockService, pauses: list[float], broken: bool) -> None:
    service.answer("GET", "/v1/events", lambda _: answer_stream(breaks=broken))
    with pytest.raises(NoConnection, match="for events"):
        list(service.client().events())
    assert len(service.requests) == transport.MAX_RECONNECTS


def test_an_event_stream_has_a_limit_for_the_whole_of_it(service: MockService) -> None:
    service.answer("GET", "/v1/events", lambda _: answer_stream(*[": still here\n\n"] * 3))
    began = time.monotonic()
    with pytest.raises(TimedOut):
        list(service.client().events(timeout=0.05))
    assert time.monotonic() - began < 1


def test_a_refused_or_unreadable_event_stream_is_an_error(service: MockService) -> None:
    service.answer("GET", "/v1/events", answer_problem(422, "no such event"), answer_stream("id: 1\ndata: [\n\n"))
    with pytest.raises(InvalidRequest, match="no such event"):
        list(service.client().events())
    with pytest.raises(ServerError, match="cannot be read"):
        list(service.client().events())
