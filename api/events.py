"""Server-sent events: what happens to one job, or to all of a tenant's, as it happens."""

import re
import time
from collections.abc import Callable, Iterator

from flask import Blueprint, Response, request

from api.access import caller
from api.lookup import find_job
from api.openapi import Content, describes
from api.services import Services, services
from shared.access import Scope
from shared.errors import FieldError, InvalidRequest, LimitReached
from shared.events import Event
from shared.jobs import Job

blueprint = Blueprint("events", __name__)

STREAM = Content(
    "text/event-stream",
    {"type": "string", "description": "Events; `data` of each is JSON."},
    "id: 1763717400000-0\nevent: job.running\n"
    'data: {"job":"01k9v0m2q7gq5n9w3t8yx4r6zs","state":"running","progress":{"done":12,"total":128,"unit":"step"}}\n\n',
)

LOOK_SECONDS = 2.0
"""For so long one look at the stream waits."""

QUIET_SECONDS = 5.0
"""After so long without an event a comment is sent: who does not take it is gone."""

LONGEST_SECONDS = 3600.0
"""Then the connection ends, and whoever listens makes another: browsers do so by themselves."""

EVENT_ID = re.compile(r"\d{1,15}-\d{1,10}")
RESUMES = {"Last-Event-ID": "Go on after this event, if it is among the last ten thousand of the tenant."}


@blueprint.get("/v1/jobs/<job_id>/events")
@describes("Follow a job", scope=Scope.READ, headers=RESUMES, answers={200: STREAM}, problems=(404, 410, 422, 429, 503))
def follow_job(job_id: str) -> Response:
    """How it stands, then every change with its progress and what it looks like; ends when the job has ended."""
    here, tenant = services(), caller().tenant
    find_job(job_id, tenant, here)
    after = _read_last()
    return _stream(here, lambda: follow(job_id, tenant, after, here))


@blueprint.get("/v1/events")
@describes("Follow all jobs", scope=Scope.READ, headers=RESUMES, answers={200: STREAM}, problems=(422, 429, 503))
def follow_all() -> Response:
    """What happens from now on, or from after the event that is named, to every job of the tenant."""
    here, tenant = services(), caller().tenant
    after = _read_last() or here.events.latest(tenant)
    return _stream(here, lambda: follow_tenant(tenant, after, here))


def follow(job_id: str, tenant: str, after: str | None, here: Services) -> Iterator[Event | None]:
    """A job's events until it has ended; None where nothing happened for a while."""
    if after is None:
        after = here.events.latest(tenant)
        now = find_job(job_id, tenant, here)
        yield picture(now, after)
        if now.state.terminal:
            return
    for event in follow_tenant(tenant, after, here):
        if event is not None and event.job == job_id:
            yield event
            if event.state.terminal:
                return
        elif event is None:  # the end may have been told before the oldest event that is still known
            now = find_job(job_id, tenant, here)
            if now.state.terminal:
                yield picture(now, here.events.latest(tenant))
                return
            yield None


def follow_tenant(tenant: str, after: str, here: Services) -> Iterator[Event | None]:
    """A tenant's events; None where nothing happened for a while."""
    limit, quiet = time.monotonic() + LONGEST_SECONDS, time.monotonic()
    while time.monotonic() < limit:
        for event in here.events.read(tenant, after, seconds=LOOK_SECONDS):
            after, quiet = event.id, time.monotonic()
            yield event
        if time.monotonic() - quiet > QUIET_SECONDS:
            quiet = time.monotonic()
            yield None


def picture(job: Job, event_id: str) -> Event:
    """How a job stands, as an event."""
    return Event(id=event_id, event=f"job.{job.state}", job=job.id, state=job.state, progress=job.progress)


def write(events: Iterator[Event | None], here: Services) -> Iterator[str]:
    """Events as they are sent, each with what its job looks like where that has changed since it was sent."""
    shown: dict[str, str | None] = {}
    for event in events:
        if event is None:
            yield ": still here\n\n"
            continue
        thumbnail = here.events.find_thumbnail(event.job)
        if thumbnail is not None and shown.get(event.job) != thumbnail:
            shown[event.job] = thumbnail
            event = event.model_copy(update={"thumbnail": thumbnail})
        if event.state.terminal:
            shown.pop(event.job, None)
        data = event.model_dump_json(exclude_none=True)
        yield f"id: {event.id}\nevent: {event.event}\ndata: {data}\n\n"


def _stream(here: Services, begin: Callable[[], Iterator[Event | None]]) -> Response:
    if not here.listeners.acquire(blocking=False):
        most = here.settings.max_listeners
        field = FieldError(field="connections", detail="as many as may be listen to events", allowed=most)
        raise LimitReached(f"{most} connections listen to events, which is as many as may; poll, or try again", field)
    answer = Response(write(begin(), here), mimetype="text/event-stream")
    answer.call_on_close(here.listeners.release)
    answer.headers |= {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return answer


def _read_last() -> str | None:
    given = request.headers.get("Last-Event-ID")
    if given is not None and not EVENT_ID.fullmatch(given):
        field = FieldError(field="Last-Event-ID", detail="not an event's id", given=given[:40])
        raise InvalidRequest("Last-Event-ID is not the id of an event; leave it out to begin now", field)
    return given
