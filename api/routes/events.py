"""Event streams: the progress of one job, or of all jobs of the tenant."""

from flask import Blueprint, Response

from api.dependencies import get_services
from api.http.auth import caller
from api.http.event_stream import EVENT_STREAM, RESUME_HEADERS, read_last_event_id, stream_events
from api.http.openapi import describes
from api.services.find_job import find_job
from api.services.follow_job import follow_job as follow
from api.services.follow_job import follow_tenant
from archetype.contract.api_key import Scope

blueprint = Blueprint("events", __name__)


@blueprint.get("/v1/jobs/<job_id>/events")
@describes(
    "Follow a job",
    scope=Scope.READ,
    headers=RESUME_HEADERS,
    responses={200: EVENT_STREAM},
    problems=(404, 410, 422, 429, 503),
)
def follow_job(job_id: str) -> Response:
    """Streams the current state of a job, then every change, with its progress and a thumbnail of its result.

    The stream ends when the job has ended.
    """
    services, tenant = get_services(), caller().tenant
    find_job(job_id, tenant, services)
    after = read_last_event_id()
    return stream_events(services, lambda: follow(job_id, tenant, after, services))


@blueprint.get("/v1/events")
@describes(
    "Follow all jobs",
    scope=Scope.READ,
    headers=RESUME_HEADERS,
    responses={200: EVENT_STREAM},
    problems=(422, 429, 503),
)
def follow_all() -> Response:
    """Streams the events of all jobs of the tenant, from now on or after the event in `Last-Event-ID`."""
    services, tenant = get_services(), caller().tenant
    after = read_last_event_id() or services.events.latest(tenant)
    return stream_events(services, lambda: follow_tenant(tenant, after, services))
