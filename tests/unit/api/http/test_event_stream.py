"""The format of event streams, and their header."""

import json

import pytest
from flask import Flask

from api.http.event_stream import format_event, read_last_event_id
from archetype.contract.job import Event, Progress, State
from shared.errors import InvalidRequest


def test_an_event_is_three_lines_and_an_empty_one() -> None:
    event = Event(id="5-0", event="job.running", job="j", state=State.RUNNING, progress=Progress(done=1, total=2))
    name, kind, data, *end = format_event(event).split("\n")
    assert (name, kind, end) == ("id: 5-0", "event: job.running", ["", ""])
    assert json.loads(data.removeprefix("data: "))["progress"]["done"] == 1


def test_a_pause_is_a_comment_that_clients_ignore() -> None:
    assert format_event(None).startswith(":")
    assert format_event(None).endswith("\n\n")


def test_the_last_event_id_is_read(app: Flask) -> None:
    with app.test_request_context(headers={"Last-Event-ID": "1763717400000-0"}):
        assert read_last_event_id() == "1763717400000-0"
    with app.test_request_context():
        assert read_last_event_id() is None


@pytest.mark.parametrize("header", ["$", "", "5", "5-", "-0", "1-0 2-0", "9" * 16 + "-0"])
def test_a_last_event_id_that_is_none_is_refused(app: Flask, header: str) -> None:
    with app.test_request_context(headers={"Last-Event-ID": header}), pytest.raises(InvalidRequest) as refused:
        read_last_event_id()
    assert refused.value.errors[0].field == "Last-Event-ID"
