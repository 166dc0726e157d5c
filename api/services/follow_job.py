"""Follows jobs: waits until one has ended, and yields the events of one or of all jobs of a tenant."""

import time
from collections.abc import Iterator

from api.dependencies import Services
from api.services.find_job import find_job
from archetype.contract.job import Event, Job

POLL_SECONDS, FIRST_POLL_SECONDS = 0.1, 0.02
"""Longest and shortest pause between two looks at a job."""

READ_SECONDS = 2.0
"""How long one read of the event stream in Redis blocks."""

KEEPALIVE_SECONDS = 5.0
"""After this time without an event the generators yield None, so that a closed connection is noticed."""

MAX_FOLLOW_SECONDS = 3600.0
"""After this time the stream ends. Browsers and the client reconnect by themselves."""


def wait_for(job: Job, services: Services, seconds: float) -> Job:
    """Waits until a job has ended.

    Returns:
        The job when it has ended, or its state after `seconds`. At once if too many requests wait already.
    """
    if not services.waiters.acquire(blocking=False):
        return job
    try:
        return _poll(job, services, seconds)
    finally:
        services.waiters.release()


def _poll(job: Job, services: Services, seconds: float) -> Job:
    started = time.monotonic()
    while not job.state.terminal and (waited := time.monotonic() - started) < seconds:
        time.sleep(min(POLL_SECONDS, max(FIRST_POLL_SECONDS, waited / 10)))  # a short job is noticed soon
        job = find_job(job.id, job.tenant, services)
    return job


def follow_job(job_id: str, tenant: str, after: str | None, services: Services) -> Iterator[Event | None]:
    """Yields the events of a job until it has ended.

    Args:
        job_id: The id of the job.
        tenant: The tenant of the job.
        after: Id of the event to resume after. Without one, the current state comes first.
        services: The services.

    Yields:
        Events, or None if nothing happened for `KEEPALIVE_SECONDS`.
    """
    if after is None:
        after = services.events.latest(tenant)
        job = find_job(job_id, tenant, services)
        yield make_state_event(job, after)
        if job.state.terminal:
            return
    for event in _read_stream(tenant, after, services, job_id):
        if event is None:  # the last event of the job may be older than the oldest one in the stream
            job = find_job(job_id, tenant, services)
            event = make_state_event(job, services.events.latest(tenant)) if job.state.terminal else None
        yield event
        if event is not None and event.state.terminal:
            return


def follow_tenant(tenant: str, after: str, services: Services) -> Iterator[Event | None]:
    """Yields the events of all jobs of a tenant after an event, or None if nothing happened for a while."""
    yield from _read_stream(tenant, after, services)


def _read_stream(tenant: str, after: str, services: Services, job_id: str | None = None) -> Iterator[Event | None]:
    """Yields the events of one or of all jobs of a tenant, or None if there was none of them for a while.

    Events of the tenant's other jobs do not count: without a line, a closed connection is not noticed.
    """
    end, last_yield = time.monotonic() + MAX_FOLLOW_SECONDS, time.monotonic()
    while time.monotonic() < end:
        for event in services.events.read(tenant, after, seconds=READ_SECONDS):
            after = event.id
            if job_id in (None, event.job):
                last_yield = time.monotonic()
                yield event
        if time.monotonic() - last_yield > KEEPALIVE_SECONDS:
            last_yield = time.monotonic()
            yield None


def make_state_event(job: Job, event_id: str) -> Event:
    """Returns the current state of a job as an event."""
    return Event(id=event_id, event=f"job.{job.state}", job=job.id, state=job.state, progress=job.progress)


def add_thumbnails(events: Iterator[Event | None], services: Services) -> Iterator[Event | None]:
    """Adds the thumbnail of its job to an event if the thumbnail has changed since the last event of the job."""
    sent: dict[str, str | None] = {}
    for event in events:
        if event is None:
            yield None
            continue
        thumbnail = services.events.find_thumbnail(event.job)
        if thumbnail is not None and sent.get(event.job) != thumbnail:
            sent[event.job] = thumbnail
            event = event.model_copy(update={"thumbnail": thumbnail})
        if event.state.terminal:
            sent.pop(event.job, None)
        yield event
