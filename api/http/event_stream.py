"""Server-sent events: a bounded number of connections, each of which resumes after the last event it received."""

import re
from collections.abc import Callable, Iterator

from flask import Response, request

from api.adapters.callers import while_valid
from api.adapters.listeners import Listener
from api.dependencies import Services
from api.http.auth import caller
from api.http.openapi import Content
from api.services.follow_job import add_thumbnails
from archetype.contract.job import Event
from archetype.contract.problem import FieldError
from shared.errors import InvalidRequest

EVENT_STREAM = Content(
    "text/event-stream",
    {"type": "string", "description": "Server-sent events. The `data` of each event is a JSON object."},
    "id: 1763717400000-0\nevent: job.running\n"
    'data: {"job":"01k9v0m2q7gq5n9w3t8yx4r6zs","state":"running","progress":{"done":12,"total":128,"unit":"step"}}\n\n',
)
RESUME_HEADERS = {"Last-Event-ID": "Resume after this event, if it is among the last 10,000 events of the tenant."}

EVENT_ID = re.compile(r"\d{1,15}-\d{1,10}")


OPENING = ": connected\n\n"
"""Sent at once, so that the client receives the headers before the first event."""

EVICTION = ": another client needs this connection; connect again later\n\n"


def stream_events(services: Services, follow: Callable[[], Iterator[Event | None]]) -> Response:
    """Streams events until the generator ends, the client closes the connection, or another client needs it.

    Args:
        services: The services.
        follow: Starts the generator of events; None means that nothing happened for a while.

    Raises:
        LimitReached: The maximum number of connections follow events, and the caller has its share of them.
    """
    listener = services.listeners.open(caller().tenant, caller().key)
    events = while_valid(follow(), caller(), services)
    response = Response(_write(listener, add_thumbnails(events, services)), mimetype="text/event-stream")
    response.call_on_close(lambda: services.listeners.close(listener))
    # A proxy that compresses a stream collects events before it sends them.
    response.headers |= {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
    return response


def _write(listener: Listener, events: Iterator[Event | None]) -> Iterator[str]:
    yield OPENING
    for event in events:
        if listener.is_evicted:
            yield EVICTION
            return
        yield format_event(event)


def format_event(event: Event | None) -> str:
    """Returns an event in the format of server-sent events, or a comment that keeps the connection open."""
    if event is None:
        return ": keep-alive\n\n"
    return f"id: {event.id}\nevent: {event.event}\ndata: {event.model_dump_json(exclude_none=True)}\n\n"


def read_last_event_id() -> str | None:
    """Returns the header `Last-Event-ID`. Raises `InvalidRequest` if it is not an event id."""
    header = request.headers.get("Last-Event-ID")
    if header is not None and not EVENT_ID.fullmatch(header):
        field = FieldError(field="Last-Event-ID", detail="not an event id", given=header[:40])
        raise InvalidRequest("Last-Event-ID is not the id of an event; leave it out to start now", field)
    return header
