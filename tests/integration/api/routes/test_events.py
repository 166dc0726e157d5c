"""Server-sent events: progress with thumbnails, resumable, limited in number, and separate for each tenant."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from api.app import create_app
from archetype.client import Client
from archetype.contract.api_key import NewKey
from archetype.contract.job import Job, State
from archetype.contract.request import REQUEST
from deploy.local import Stack
from shared.state.events import Events
from shared.state.redis_client import RedisClient

SHORT: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 60}}
SLOW: dict[str, Any] = {
    "method": "class_model",
    "model": "slow",
    "targets": [0],
    "params": {"steps": 200, "frames": 50},
}


def submit(client: Client, body: dict[str, Any]) -> Job:
    return client.submit(REQUEST.validate_python(body))


def test_a_job_is_followed_to_its_end_with_thumbnails(client: Client) -> None:
    job = submit(client, SLOW | {"params": {"steps": 30, "frames": 30}})
    events = list(client.events(job.id))
    assert events[-1].event == "job.succeeded"
    assert events[-1].state is State.SUCCEEDED
    progress = [event.progress.done for event in events if event.event == "job.progress"]
    assert progress == sorted(progress)
    assert len(progress) > 1
    thumbnails = [event.thumbnail for event in events if event.thumbnail]
    assert thumbnails
    assert all(image.startswith("data:image/webp;base64,") and len(image) < 30_000 for image in thumbnails)
    assert len(set(thumbnails)) == len(thumbnails)


def test_an_event_stream_resumes_after_the_last_received_event(client: Client) -> None:
    job = submit(client, SHORT)
    received = [(event.id, event.event) for event in client.events(job.id)]
    start, *rest = [pair for pair in received if pair[1] != "job.queued"]
    again = [(event.id, event.event) for event in client.events(job.id, after=start[0])]
    assert again == rest or not rest


def test_the_event_stream_of_an_ended_job_is_its_last_event(client: Client) -> None:
    job = client.wait(submit(client, SHORT).id, timeout=400)
    assert [event.event for event in client.events(job.id)] == ["job.succeeded"]


def test_the_last_event_of_a_job_is_sent_again_if_the_stream_has_lost_it(stack: Stack, client: Client) -> None:
    job = client.wait(submit(client, SHORT).id, timeout=400)
    latest = Events(RedisClient(stack.settings)).latest("default")
    assert [event.event for event in client.events(job.id, after=latest)] == ["job.succeeded"]


def test_all_jobs_of_a_tenant_are_followed_and_none_of_another_tenant(stack: Stack, client: Client) -> None:
    assert stack.settings.operator_token is not None
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as operator:
        key = operator.issue_key(NewKey(tenant="listener")).token
    with Client(stack.url, key=key) as other:
        events = other.events(after="0-1")
        hidden, own = submit(client, SHORT), submit(other, SHORT)
        ended: dict[str, str] = {}
        for event in events:
            ended[event.job] = event.event
            if event.state.terminal:
                break
    assert ended == {own.id: "job.succeeded"}
    assert client.wait(hidden.id, timeout=400).state is State.SUCCEEDED


def test_a_wrong_event_id_or_job_id_is_refused(stack: Stack) -> None:
    answer = httpx2.get(f"{stack.url}/v1/events", headers={"Last-Event-ID": "$"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Last-Event-ID"
    assert httpx2.get(f"{stack.url}/v1/jobs/{'0' * 26}/events").status_code == 404


@pytest.fixture
def slow(client: Client) -> Iterator[Job]:
    job = submit(client, SLOW | {"params": {"steps": 2000}})
    yield job
    client.cancel(job.id)


def test_open_event_streams_are_limited_and_closing_one_makes_room(stack: Stack, slow: Job) -> None:
    app = create_app(stack.settings.model_copy(update={"max_listeners": 2}))
    http, path = app.test_client(), f"/v1/jobs/{slow.id}/events"
    first, second = http.get(path), http.get(path)
    chunks = iter(first.response)
    assert next(chunks).startswith(b": ")  # sent at once, so that the headers are
    assert next(chunks).startswith(b"id: ")
    assert "no-transform" in first.headers["Cache-Control"]
    refused = http.get(path)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    first.close()
    assert http.get(path, buffered=False).status_code == 200
    second.close()


def test_the_listeners_of_one_tenant_do_not_block_another(stack: Stack, client: Client) -> None:
    assert stack.settings.operator_token is not None
    with Client(stack.url, key=stack.settings.operator_token.get_secret_value()) as operator, ExitStack() as streams:
        keys = [operator.issue_key(NewKey(tenant=tenant)).token for tenant in ("greedy", "modest")]
        opened = [_open(stack, keys[0], streams) for _ in range(stack.settings.max_listeners)]
        assert opened[0].status_code == 200
        modest = _open(stack, keys[1], streams)
        assert (modest.status_code, next(modest.iter_lines())) == (200, ": connected")
        assert any("another client" in line for line in opened[0].iter_lines())


def _open(stack: Stack, key: str, streams: ExitStack) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return streams.enter_context(httpx2.stream("GET", f"{stack.url}/v1/events", headers=headers, timeout=30))


def test_an_abandoned_event_stream_is_closed(stack: Stack, slow: Job) -> None:
    """Clients that disappear occupy every stream; soon after, a new client gets one."""
    max_streams = stack.settings.max_listeners
    for _ in range(max_streams):
        with httpx2.stream("GET", f"{stack.url}/v1/jobs/{slow.id}/events", timeout=10) as response:
            next(response.iter_lines())
    limit = time.monotonic() + 30
    while True:
        with httpx2.stream("GET", f"{stack.url}/v1/jobs/{slow.id}/events", timeout=10) as response:
            if response.status_code == 200:
                return
        assert time.monotonic() < limit
        time.sleep(0.5)
