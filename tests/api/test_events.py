"""Server-sent events: progress with pictures, resumed, bounded, and nobody else's."""

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from api.app import create_app
from deploy.local import Stack
from shared.access import NewKey
from shared.client import Client
from shared.events import Events
from shared.jobs import Job, State
from shared.methods import REQUEST
from shared.records import Records

SHORT: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 60}}
SLOW: dict[str, Any] = {
    "method": "class_model",
    "model": "slow",
    "targets": [0],
    "params": {"steps": 200, "frames": 50},
}


def submit(client: Client, body: dict[str, Any]) -> Job:
    return client.submit(REQUEST.validate_python(body))


def test_a_job_is_followed_to_its_end_with_pictures_of_it(client: Client) -> None:
    job = submit(client, SLOW | {"params": {"steps": 30, "frames": 30}})
    events = list(client.events(job.id))
    assert events[-1].event == "job.succeeded"
    assert events[-1].state is State.SUCCEEDED
    progress = [event.progress.done for event in events if event.event == "job.progress"]
    assert progress == sorted(progress)
    assert len(progress) > 1
    shown = [event.thumbnail for event in events if event.thumbnail]
    assert shown
    assert all(picture.startswith("data:image/webp;base64,") and len(picture) < 30_000 for picture in shown)
    assert len(set(shown)) == len(shown)


def test_events_go_on_after_the_last_one_that_was_heard(client: Client) -> None:
    job = submit(client, SHORT)
    heard = [(event.id, event.event) for event in client.events(job.id)]
    start, *rest = [pair for pair in heard if pair[1] != "job.queued"]
    again = [(event.id, event.event) for event in client.events(job.id, after=start[0])]
    assert again == rest or not rest


def test_a_job_that_has_ended_is_told_at_once(client: Client) -> None:
    job = client.wait(submit(client, SHORT).id, timeout=60)
    assert [event.event for event in client.events(job.id)] == ["job.succeeded"]


def test_an_end_that_was_told_too_long_ago_is_told_again(stack: Stack, client: Client) -> None:
    job = client.wait(submit(client, SHORT).id, timeout=60)
    latest = Events(Records(stack.settings)).latest("default")
    assert [event.event for event in client.events(job.id, after=latest)] == ["job.succeeded"]


def test_all_jobs_of_a_tenant_are_followed_and_no_others(stack: Stack, client: Client) -> None:
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
    assert client.wait(hidden.id, timeout=60).state is State.SUCCEEDED


def test_what_is_no_event_is_refused(stack: Stack) -> None:
    answer = httpx2.get(f"{stack.url}/v1/events", headers={"Last-Event-ID": "$"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Last-Event-ID"
    assert httpx2.get(f"{stack.url}/v1/jobs/{'0' * 26}/events").status_code == 404


@pytest.fixture
def slow(client: Client) -> Iterator[Job]:
    job = submit(client, SLOW | {"params": {"steps": 2000}})
    yield job
    client.cancel(job.id)


def test_connections_are_bounded_and_free_again_when_they_close(stack: Stack, slow: Job) -> None:
    app = create_app(stack.settings.model_copy(update={"max_listeners": 2}))
    http, path = app.test_client(), f"/v1/jobs/{slow.id}/events"
    first, second = http.get(path), http.get(path)
    assert next(iter(first.response)).startswith(b"id: ")
    refused = http.get(path)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    first.close()
    assert http.get(path, buffered=False).status_code == 200
    second.close()


def test_who_is_gone_is_noticed(stack: Stack, slow: Job) -> None:
    """Every place is taken by listeners who leave without a word; others are heard soon after."""
    most = stack.settings.max_listeners
    for _ in range(most):
        with httpx2.stream("GET", f"{stack.url}/v1/jobs/{slow.id}/events", timeout=10) as response:
            next(response.iter_lines())
    limit = time.monotonic() + 30
    while True:
        with httpx2.stream("GET", f"{stack.url}/v1/jobs/{slow.id}/events", timeout=10) as response:
            if response.status_code == 200:
                return
        assert time.monotonic() < limit
        time.sleep(0.5)
